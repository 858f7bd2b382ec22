//! A result as a table for people and as one JSON line for scripts.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::machine::Machine;

/// Named values in the order they are shown.
#[derive(Debug, Clone)]
pub struct Report {
    scenario: &'static str,
    seed: u64,
    rows: Vec<(&'static str, Value, &'static str)>,
}

impl Report {
    pub fn new(scenario: &'static str, seed: u64) -> Report {
        Report { scenario, seed, rows: Vec::new() }
    }

    /// Adds a value; the unit is part of its JSON name.
    pub fn row(&mut self, name: &'static str, value: impl Into<Value>, unit: &'static str) -> &mut Report {
        self.rows.push((name, value.into(), unit));
        self
    }

    /// Adds a measured value, to three digits behind the point.
    pub fn measured(&mut self, name: &'static str, value: f64, unit: &'static str) -> &mut Report {
        self.row(name, (value * 1000.0).round() / 1000.0, unit)
    }

    /// The table.
    pub fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let machine = Machine::here();
        writeln!(out, "{} (seed {})", self.scenario, self.seed)?;
        writeln!(out, "  {} cores, {}, Linux {}", machine.cores, machine.cpu, machine.kernel)?;
        for (name, value, unit) in &self.rows {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "  {name:<34} {value:>16} {unit}")?;
        }
        Ok(())
    }

    /// One line of JSON.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let rows: Map<String, Value> =
            self.rows.iter().map(|(name, value, unit)| (key(name, unit), value.clone())).collect();
        let line =
            json!({"scenario": self.scenario, "seed": self.seed, "machine": Machine::here(), "result": rows});
        writeln!(out, "{line}")
    }
}

/// `deliveries per CPU second` and `1/s` become `deliveries_per_cpu_second_1_s`.
fn key(name: &str, unit: &str) -> String {
    let text = format!("{name} {unit}").to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_line_is_one_line_with_named_values() {
        let mut report = Report::new("posts", 7);
        report.row("acked posts", 12, "").measured("latency p50", 1.23456, "ms");
        let mut out = Vec::new();
        report.write_json(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["result"], json!({"acked_posts": 12, "latency_p50_ms": 1.235}));
        assert_eq!(json["seed"], 7);
    }

    #[test]
    fn the_table_has_a_row_for_each_value() {
        let mut report = Report::new("posts", 7);
        report.row("acked posts", 12, "").row("outcome", "ok", "");
        let mut out = Vec::new();
        report.write_table(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 4);
    }
}
