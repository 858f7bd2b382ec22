//! A result as a table for people and as one JSON line for scripts.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::machine::Machine;
use crate::stats::Spread;

/// Named values in the order they are shown; one of each per run.
#[derive(Debug, Clone)]
pub struct Report {
    scenario: &'static str,
    seed: u64,
    runs: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    name: Cow<'static, str>,
    values: Vec<Value>,
    unit: &'static str,
    /// The load generator had no time left: more may have been possible.
    marked: bool,
}

/// What a row shows of its runs.
enum Shown {
    Same(Value),
    Spread(Spread),
    Different(Vec<Value>),
}

impl Report {
    pub fn new(scenario: &'static str, seed: u64) -> Report {
        Report { scenario, seed, runs: 1, rows: Vec::new() }
    }

    /// Adds a value; the unit is part of its JSON name.
    pub fn row(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
        unit: &'static str,
    ) -> &mut Report {
        self.rows.push(Row { name: name.into(), values: vec![value.into()], unit, marked: false });
        self
    }

    /// Adds a measured value, to three digits behind the point.
    pub fn measured(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
    ) -> &mut Report {
        self.row(name, (value * 1000.0).round() / 1000.0, unit)
    }

    /// Says of the last value that the load generator had no time left.
    pub fn mark(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.marked = true;
        }
    }

    /// Adds another run of the same scenario: each number is shown as the median of all, with the least and the most.
    pub fn merge(&mut self, other: Report) {
        self.runs += other.runs;
        for theirs in other.rows {
            match self.rows.iter_mut().find(|row| row.name == theirs.name) {
                Some(row) => {
                    row.values.extend(theirs.values);
                    row.marked |= theirs.marked;
                }
                None => self.rows.push(theirs),
            }
        }
    }

    /// The table.
    pub fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let machine = Machine::here();
        writeln!(out, "{} (seed {})", self.scenario, self.seed)?;
        writeln!(out, "  {} cores, {}, Linux {}", machine.cores, machine.cpu, machine.kernel)?;
        if self.runs > 1 {
            writeln!(out, "  {} runs: median (min–max)", self.runs)?;
        }
        for row in &self.rows {
            let (value, rest) = match row.shown() {
                Shown::Same(value) => (plain(&value), String::new()),
                Shown::Spread(spread) => {
                    (round(spread.median), format!(" ({}–{})", round(spread.min), round(spread.max)))
                }
                Shown::Different(values) => {
                    (values.iter().map(plain).collect::<Vec<_>>().join(", "), String::new())
                }
            };
            let mark = if row.marked { " (!)" } else { "" };
            let line = format!("  {:<40} {value:>16} {}{rest}{mark}", row.name, row.unit);
            writeln!(out, "{}", line.trim_end())?;
        }
        if self.rows.iter().any(|row| row.marked) {
            writeln!(
                out,
                "  (!) the load generator used more than 90 % of its core: more may have been possible"
            )?;
        }
        Ok(())
    }

    /// One line of JSON.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let (mut result, mut least, mut most) = (Map::new(), Map::new(), Map::new());
        let mut marked = Vec::new();
        for row in &self.rows {
            let key = key(&row.name, row.unit);
            if row.marked {
                marked.push(key.clone());
            }
            let value = match row.shown() {
                Shown::Same(value) => value,
                Shown::Spread(spread) => {
                    least.insert(key.clone(), spread.min.into());
                    most.insert(key.clone(), spread.max.into());
                    spread.median.into()
                }
                Shown::Different(values) => values.into(),
            };
            result.insert(key, value);
        }
        let mut line = json!({"scenario": self.scenario, "seed": self.seed, "machine": Machine::here(), "result": result});
        if let Some(line) = line.as_object_mut() {
            if self.runs > 1 {
                line.insert("runs".to_owned(), self.runs.into());
                line.insert("min".to_owned(), least.into());
                line.insert("max".to_owned(), most.into());
            }
            if !marked.is_empty() {
                line.insert("generator_was_busy".to_owned(), marked.into());
            }
        }
        writeln!(out, "{line}")
    }
}

impl Row {
    fn shown(&self) -> Shown {
        let first = self.values.first().cloned().unwrap_or_default();
        if self.values.iter().all(|value| *value == first) {
            return Shown::Same(first);
        }
        let numbers: Option<Vec<f64>> = self.values.iter().map(Value::as_f64).collect();
        match numbers.and_then(|numbers| Spread::of(&numbers)) {
            Some(spread) => Shown::Spread(spread),
            None => Shown::Different(self.values.clone()),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn round(value: f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}

/// `deliveries per CPU second` and `1/s` become `deliveries_per_cpu_second_1_s`.
fn key(name: &str, unit: &str) -> String {
    let text = format!("{name} {unit}").to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_of(report: &Report) -> Value {
        let mut out = Vec::new();
        report.write_json(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        serde_json::from_str(&text).unwrap()
    }

    fn table_of(report: &Report) -> String {
        let mut out = Vec::new();
        report.write_table(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_json_line_is_one_line_with_named_values() {
        let mut report = Report::new("posts", 7);
        report.row("acked posts", 12, "").measured("latency p50", 1.23456, "ms");
        let json = json_of(&report);
        assert_eq!(json["result"], json!({"acked_posts": 12, "latency_p50_ms": 1.235}));
        assert_eq!(json["seed"], 7);
        assert!(json.get("min").is_none() && json.get("generator_was_busy").is_none());
    }

    #[test]
    fn the_table_has_a_row_for_each_value() {
        let mut report = Report::new("posts", 7);
        report.row("acked posts", 12, "").row("outcome", "ok", "");
        assert_eq!(table_of(&report).lines().count(), 4);
    }

    #[test]
    fn several_runs_are_shown_by_their_median_and_how_far_they_are_apart() {
        let run = |rate: f64, how: &'static str, busy: bool| {
            let mut report = Report::new("posts", 7);
            report.row("clients", 4, "").row("how", how, "").measured("rate", rate, "1/s");
            if busy {
                report.mark();
            }
            report
        };
        let mut all = run(3.0, "a", false);
        all.merge(run(1.0, "a", true));
        all.merge(run(2.5, "b", false));
        let json = json_of(&all);
        assert_eq!(json["result"], json!({"clients": 4, "how": ["a", "a", "b"], "rate_1_s": 2.5}));
        assert_eq!((&json["min"], &json["max"]), (&json!({"rate_1_s": 1.0}), &json!({"rate_1_s": 3.0})));
        assert_eq!((&json["runs"], &json["generator_was_busy"]), (&json!(3), &json!(["rate_1_s"])));
        let table = table_of(&all);
        assert!(table.contains("2.5 1/s (1–3) (!)") && table.contains("a, a, b"), "{table}");
    }
}
