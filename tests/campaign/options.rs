//! How long the campaign is.

pub const HELP: &str = "--chains N, --flips N, --hours H (begin nothing new after that), --seed S, --first N (leave the chains \
                        and flips before number N out)";

/// As the command line says.
pub struct Options {
    pub chains: u64,
    pub flips: u64,
    pub hours: Option<f64>,
    pub seed: u64,
    pub first: u64,
}

impl Options {
    /// Reads words; none where nothing is to be run. What `cargo test` hands to all tests, names to
    /// choose by among it, is not for this one.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { chains: 4, flips: 8, hours: None, seed: 1, first: 0 };
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} takes a value"));
            let whole = |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
            match word.as_str() {
                "--chains" => options.chains = whole(value()?)?,
                "--flips" => options.flips = whole(value()?)?,
                "--seed" => options.seed = whole(value()?)?,
                "--first" => options.first = whole(value()?)?,
                "--hours" => {
                    let text = value()?;
                    options.hours = Some(text.parse().map_err(|_| format!("`{text}` is not a number"))?);
                }
                "--test-threads" | "--color" | "--format" | "--skip" => drop(value()?),
                "--list" | "--ignored" => return Ok(None),
                "--nocapture" | "--no-capture" | "--exact" | "--quiet" | "-q" | "--include-ignored" => {}
                name if !name.starts_with('-') && !"campaign".contains(name) => return Ok(None),
                name if !name.starts_with('-') || name.starts_with("--test-threads=") => {}
                other => return Err(format!("{other} is unknown")),
            }
        }
        Ok(Some(options))
    }
}
