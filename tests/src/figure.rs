//! Measured figures, and their tables.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::{Value, json};

/// Changes smaller than this are never called worse, because the machine itself is not steadier.
const NOISE: f64 = 0.1;

/// A measured figure, with several samples if it is cheap.
pub struct Figure {
    /// Its name, unique within its group.
    pub name: String,
    /// The unit of the samples; empty for counts.
    pub unit: &'static str,
    /// Whether lower or higher values are better.
    pub better: Better,
    /// The samples, in the order of measurement.
    pub samples: Vec<f64>,
}

/// Whether lower or higher values are better.
#[derive(Clone, Copy, PartialEq)]
pub enum Better {
    /// Times and sizes.
    Lower,
    /// Rates.
    Higher,
}

impl Figure {
    /// Makes a figure of which lower values are better.
    pub fn lower(name: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        Self::new(name.into(), unit, Better::Lower, samples)
    }

    /// Makes a figure of which higher values are better.
    pub fn higher(name: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        Self::new(name.into(), unit, Better::Higher, samples)
    }

    fn new(name: String, unit: &'static str, better: Better, samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "there is no sample of `{name}`");
        Self { name, unit, better, samples }
    }

    fn spread(&self) -> Spread {
        Spread::of(&self.samples)
    }

    fn to_json(&self, group: &str) -> Value {
        let better = if self.better == Better::Lower { "lower" } else { "higher" };
        let median = self.spread().median;
        json!({ "group": group, "name": self.name, "unit": self.unit, "better": better, "median": median,
                "samples": self.samples })
    }
}

/// The median, and the range of the samples.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(samples: &[f64]) -> Self {
        Self { least: quantile(samples, 0.0), median: quantile(samples, 0.5), most: quantile(samples, 1.0) }
    }

    /// Returns the random deviation of a sample, as a part of the median.
    fn noise(&self) -> f64 {
        (self.most - self.least) / 2.0 / self.median.abs().max(f64::MIN_POSITIVE)
    }
}

/// Returns the sample below which the given part of all lies; NaN without samples.
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = part * sorted.len().saturating_sub(1) as f64;
    let (Some(below), Some(above)) = (sorted.get(middle.floor() as usize), sorted.get(middle.ceil() as usize)) else {
        return f64::NAN;
    };
    below + (above - below) * middle.fract()
}

/// The samples of an earlier run to compare with, by group and name.
pub struct Base(HashMap<(String, String), Vec<f64>>);

impl Base {
    /// Reads the output of [`to_json`].
    pub fn read(text: &str) -> Option<Self> {
        let file: Value = serde_json::from_str(text).ok()?;
        let figure = |figure: &Value| {
            let text = |key: &str| Some(figure[key].as_str()?.to_owned());
            let samples = figure["samples"].as_array()?.iter().filter_map(Value::as_f64).collect();
            Some(((text("group")?, text("name")?), samples))
        };
        file["figures"].as_array()?.iter().map(figure).collect::<Option<_>>().map(Self)
    }
}

/// Encodes figures for comparison with a later run.
pub fn to_json<'a>(figures: impl IntoIterator<Item = (&'a str, &'a Figure)>) -> String {
    let figures: Vec<_> = figures.into_iter().map(|(group, figure)| figure.to_json(group)).collect();
    let file = json!({ "cores": std::thread::available_parallelism().map_or(0, usize::from), "figures": figures });
    serde_json::to_string_pretty(&file).expect("text and numbers have a JSON form")
}

/// Formats a group's figures as a Markdown table.
pub fn table(group: &str, figures: &[Figure], base: Option<&Base>) -> String {
    let mut text =
        format!("| {group} | median | from – to |{}\n", if base.is_some() { " base | ratio | |" } else { "" });
    text.push_str(if base.is_some() { "|---|--:|--:|--:|--:|---|\n" } else { "|---|--:|--:|\n" });
    for figure in figures {
        let now = figure.spread();
        let range = if figure.samples.len() > 1 {
            format!("{} – {}", short(now.least), short(now.most))
        } else {
            String::new()
        };
        let median = format!("{} {}", short(now.median), figure.unit);
        let _ = write!(text, "| {} | {} | {range} |", figure.name, median.trim_end());
        if let Some(Base(base)) = base {
            let before = base.get(&(group.to_owned(), figure.name.clone())).map(|samples| Spread::of(samples));
            text.push_str(&before.map_or(" | | new |".into(), |before| compared(figure.better, &before, &now)));
        }
        text.push('\n');
    }
    text
}

fn compared(better: Better, before: &Spread, now: &Spread) -> String {
    let ratio = now.median / before.median;
    let noise = before.noise().max(now.noise()).max(NOISE);
    let word = match (better, ratio) {
        (Better::Lower, ratio) if ratio > 1.0 + noise => "**worse**",
        (Better::Higher, ratio) if ratio < 1.0 / (1.0 + noise) => "**worse**",
        (Better::Lower, ratio) if ratio < 1.0 / (1.0 + noise) => "better",
        (Better::Higher, ratio) if ratio > 1.0 + noise => "better",
        _ => "",
    };
    format!(" {} | {ratio:.2} | {word} |", short(before.median))
}

/// Formats a number with three digits, or all digits before the decimal point.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 4) as usize };
    let text = format!("{value:.digits$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if part.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Vec<Figure> {
        vec![
            Figure::higher("steady", "/s", vec![100.0, 101.0, 99.0]),
            Figure::higher("slower", "/s", vec![50.0, 51.0]),
            Figure::lower("unsteady", "ms", vec![1.0, 3.0, 2.0]),
            Figure::lower("longer", "ms", vec![1.3]),
            Figure::lower("new here", "bytes", vec![1_234_567.8]),
        ]
    }

    #[test]
    fn a_table_shows_medians_and_marks_changes_beyond_the_noise() {
        let before = [
            Figure::higher("steady", "/s", vec![105.0]),
            Figure::higher("slower", "/s", vec![100.0]),
            Figure::lower("unsteady", "ms", vec![1.4]),
            Figure::lower("longer", "ms", vec![1.0]),
        ];
        let base = Base::read(&to_json(before.iter().map(|figure| ("Some", figure)))).unwrap();
        let expected = "\
| Some | median | from – to | base | ratio | |
|---|--:|--:|--:|--:|---|
| steady | 100 /s | 99.0 – 101 | 105 | 0.95 |  |
| slower | 50.5 /s | 50.0 – 51.0 | 100 | 0.51 | **worse** |
| unsteady | 2.00 ms | 1.00 – 3.00 | 1.40 | 1.43 |  |
| longer | 1.30 ms |  | 1.00 | 1.30 | **worse** |
| new here | 1,234,568 bytes |  | | | new |
";
        assert_eq!(table("Some", &figures(), Some(&base)), expected);
        let alone = table("Some", &figures()[..1], None);
        assert_eq!(alone, "| Some | median | from – to |\n|---|--:|--:|\n| steady | 100 /s | 99.0 – 101 |\n");
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.01234, 9.876, 12.34, 999.6, 1_000.0, 123_456.7, -12.34].map(short);
        assert_eq!(texts, ["0", "0.0123", "9.88", "12.3", "1,000", "1,000", "123,457", "-12.3"]);
    }

    #[test]
    fn quantiles_lie_between_samples() {
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(|part| quantile(&[3.0, 1.0, 2.0, 4.0], part)), [1.0, 2.5, 3.25, 4.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
