//! The server's own counts, read from its metrics as an operator would.

use super::ScenarioError;

/// The samples of one scrape, as text.
pub struct Scrape(String);

impl Scrape {
    /// Reads `/metrics` of the server at `url`.
    pub async fn of(url: &str) -> Result<Scrape, ScenarioError> {
        let failed = |error: reqwest::Error| ScenarioError::Refused(format!("/metrics: {error}"));
        let response =
            reqwest::get(format!("{}/metrics", url.trim_end_matches('/'))).await.map_err(failed)?;
        let response = response.error_for_status().map_err(failed)?;
        Ok(Scrape(response.text().await.map_err(failed)?))
    }

    /// The sum of a metric's samples whose labels contain `labels`.
    pub fn sum(&self, name: &str, labels: &str) -> f64 {
        self.samples(name).filter(|(line, _)| line.contains(labels)).map(|(_, value)| value).sum()
    }

    /// The registries that aren't empty, with their entries.
    pub fn occupied(&self) -> Vec<String> {
        let registries = self.samples("hearth_registry_entries");
        registries.filter(|(_, value)| *value > 0.0).map(|(line, _)| line.to_owned()).collect()
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let lines = self.0.lines().filter(move |line| line.split(['{', ' ']).next() == Some(name));
        lines.filter_map(|line| Some((line, line.rsplit(' ').next()?.parse().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_and_full_registries_named() {
        let text = "a_total{code=\"x\"} 2\na_total{code=\"y\"} 3\nab_total 9\n\
                    hearth_registry_entries{registry=\"peers\"} 0\nhearth_registry_entries{registry=\"typing\"} 1\n";
        let scrape = Scrape(text.to_owned());
        assert!((scrape.sum("a_total", "") - 5.0).abs() < 0.1);
        assert!((scrape.sum("a_total", "\"y\"") - 3.0).abs() < 0.1);
        assert_eq!(scrape.occupied(), ["hearth_registry_entries{registry=\"typing\"} 1"]);
    }
}
