//! A link as a picture that phones read: a QR code (ISO/IEC 18004) as SVG.

use fast_qr::{ECL, QRBuilder};
use std::fmt::Write;

/// Light modules around the code, without which readers don't find it (ISO/IEC 18004 section 6.3.8).
const QUIET: usize = 4;

/// The code of `text` as an SVG document; none when it is longer than a code can hold.
///
/// Level M repairs 15 % of it: on a screen nothing is torn or dirty, there is only glare and blur, and each level above would cost a finer grid,
/// which is what cameras fail at. A module is one unit, so that it is as large as whoever shows it wants: 4 pixels each are enough, and a
/// link has about 57 of them across. It is dark on light whatever the page's colours are, as not every reader takes the inverse. There is nothing in
/// it but shapes: no script, no style, no reference to anything.
pub fn svg(text: &str) -> Option<String> {
    let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
    let width = code.size + 2 * QUIET;
    let mut path = String::new();
    for (row, modules) in code.data.chunks(code.size).take(code.size).enumerate() {
        let mut column = 0;
        for run in modules.chunk_by(|one, next| one.value() == next.value()) {
            if run.first().is_some_and(|module| module.value()) {
                let (x, y, length) = (column + QUIET, row + QUIET, run.len());
                // Writing to a String can't fail.
                let _infallible = write!(path, "M{x} {y}h{length}v1h-{length}z");
            }
            column += run.len();
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{width}v{width}h-{width}z\"/><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The picture as a camera sees it: each module so many pixels wide, in gray. Knows no more of SVG than what is drawn here, and fails
    /// on anything else.
    fn drawn(svg: &str, scale: usize) -> (usize, Vec<u8>) {
        let (_, rest) = svg.split_once("viewBox=\"0 0 ").expect("a size");
        let (width, rest) = rest.split_once(' ').expect("a width");
        let width: usize = width.parse().expect("a number");
        let (_, rest) = rest.split_once("/><path d=\"").expect("the dark modules");
        let (path, end) = rest.split_once('"').expect("an end");
        assert_eq!(end, "/></svg>");
        let side = width * scale;
        let mut pixels = vec![255; side * side];
        for run in path.split_terminator('z') {
            let (corner, run) = run.strip_prefix('M').and_then(|run| run.split_once('h')).expect("a corner");
            let (x, y) = corner.split_once(' ').expect("a point");
            let (length, back) = run.split_once("v1h-").expect("a run");
            assert_eq!(length, back);
            let [x, y, length] =
                [x, y, length].map(|number| number.parse::<usize>().expect("a number") * scale);
            for line in y..y + scale {
                pixels[line * side + x..line * side + x + length].fill(0);
            }
        }
        (side, pixels)
    }

    fn read(svg: &str, scale: usize) -> String {
        let (side, pixels) = drawn(svg, scale);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| pixels[y * side + x]);
        let codes = image.detect_grids();
        let [code] = codes.as_slice() else { panic!("{} codes", codes.len()) };
        code.decode().expect("readable").1
    }

    /// Proves AUTH-12.
    #[test]
    fn a_reader_finds_exactly_the_link() {
        let token = "htl.4OMwhHBheWxvYWQ4OMwhHBheWxvYWQ4OMwhHBheWxvYWQ4OM.LeDNQhRRZUHofiBo2gNm7gVsDv8qENvRbervbhr5AMA";
        for origin in
            ["http://[::1]:8080", "http://192.168.178.21:8080", "https://chat.a-rather-long-name.example.org"]
        {
            let link = format!("{origin}/transfer#{token}");
            let svg = svg(&link).expect("it fits");
            for scale in [2, 3, 4, 9] {
                assert_eq!(read(&svg, scale), link);
            }
            let (side, pixels) = drawn(&svg, 1);
            let quiet = |x: usize, y: usize| x.min(side - 1 - x) < QUIET || y.min(side - 1 - y) < QUIET;
            let dark = (0..side * side).filter(|at| pixels[*at] == 0);
            assert!(dark.clone().count() > side * side / 4);
            assert!(dark.into_iter().all(|at| !quiet(at % side, at / side)), "the quiet zone");
        }
    }

    #[test]
    fn there_is_nothing_in_it_but_shapes() {
        let svg = svg("https://chat.example.org/transfer#<script>&\"").expect("it fits");
        for word in ["script", "style", "href", "url(", "data:", "onload", "&", "chat"] {
            assert!(!svg.contains(word), "{word}: {svg}");
        }
        let tags: Vec<&str> =
            svg.split('<').skip(1).map(|tag| tag.split([' ', '>']).next().unwrap_or_default()).collect();
        assert_eq!(tags, ["svg", "path", "path", "/svg"]);
        assert_eq!(svg.matches("http").count(), 1, "the name of the language");
    }

    #[test]
    fn what_is_too_long_is_none() {
        assert!(svg(&"x".repeat(2331)).is_some());
        assert!(svg(&"x".repeat(2332)).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn whatever_the_token(token in "htl\\.[A-Za-z0-9_-]{48}\\.[A-Za-z0-9_-]{43}", host in "[a-z]{1,40}\\.[a-z]{2,5}(:[0-9]{2,5})?") {
            let link = format!("https://{host}/transfer#{token}");
            prop_assert_eq!(read(&svg(&link).expect("it fits"), 4), link);
        }
    }
}
