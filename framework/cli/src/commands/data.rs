//! `foil data`: which data sets there are, where they lie, and fetching them.

use super::{Exit, text};
use foil::Result;
use foil_data::{Entry, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List data sets and where they are, or fetch one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil data list
  foil data get cifar10
  foil data get mnist --dir data/mnist

foil looks for a data set in the pipeline's `data.path` if it is set; otherwise in $FOIL_DATA, in data/ in the current
folder, and in the cache folder that `foil data get` fills.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the data sets that foil knows: what they are, where they were found or looked up,
    /// licence and citation.
    #[command(after_help = "Examples:\n  foil data list\n  foil data list --json")]
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Fetch a data set from its public mirrors; an interrupted download resumes.
    #[command(after_help = "Examples:
  foil data get cifar10
  FOIL_DATA_MIRROR=http://our.server/data foil data get cifar10 --dir data/cifar10")]
    Get {
        /// Its name, as in `foil data list`.
        name: String,
        /// The folder to write to (default: one in the cache folder, where every run finds it).
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

pub(super) fn run(args: &Args) -> Exit {
    match &args.command {
        Command::List { json: false } => {
            let pages: Vec<String> = foil_data::catalog().iter().map(|set| page(set)).collect();
            print!("{}", pages.join("\n"));
        }
        Command::List { json: true } => {
            let known: Vec<Known> = foil_data::catalog().iter().map(|set| Known::of(set)).collect();
            println!("{}", super::json(&known)?);
        }
        Command::Get { name, dir } => get(name, dir.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A data set for `--json`.
#[derive(serde::Serialize)]
struct Known {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    /// Channels, height, width.
    image: [usize; 3],
    classes: usize,
    train: usize,
    test: usize,
    download_bytes: u64,
    /// Where it was found; null if it was not.
    found: Option<String>,
    /// The folders that were searched, in order.
    places: Vec<PathBuf>,
    licence: &'static str,
    citation: &'static str,
    homepage: &'static str,
}

impl Known {
    fn of(set: &Entry) -> Self {
        Self {
            name: set.name,
            title: set.title,
            about: set.about,
            image: set.image,
            classes: set.classes(),
            train: set.counts.train,
            test: set.counts.test,
            download_bytes: set.download_bytes(),
            found: found(set),
            places: if set.is_built_in() { Vec::new() } else { foil_data::places(set.name, None) },
            licence: set.licence,
            citation: set.citation,
            homepage: set.homepage,
        }
    }
}

/// Where a data set is, if it was found.
pub(super) fn found(set: &Entry) -> Option<String> {
    foil_data::find(set.name, None).ok().map(|layout| layout.to_string())
}

/// A data set's description for the terminal.
pub(super) fn page(set: &Entry) -> String {
    let [channels, height, width] = set.image;
    let where_ = match foil_data::find(set.name, None) {
        Ok(layout) => layout.to_string(),
        Err(error) => {
            let message = error.message();
            let message = message.strip_prefix(&format!("`{}` ", set.name)).unwrap_or(&message);
            format!("{message} ({}); {}", error.places().join(", "), error.help())
        }
    };
    let size = format!(
        "{} training and {} test images of {channels} x {height} x {width}, {} classes",
        crate::report::thousands(set.counts.train),
        crate::report::thousands(set.counts.test),
        set.classes()
    );
    let fields = [
        ("where", where_.as_str()),
        ("size", &size),
        ("licence", set.licence),
        ("cite", set.citation),
        ("page", set.homepage),
    ];
    let mut page = format!("{}  {}: {}\n", text::bold(set.name), set.title, set.about);
    for (name, value) in fields {
        let value = text::wrap(value, text::width(), 11);
        page += &format!("  {name:<9}{}", value.trim_start());
    }
    page
}

fn get(name: &str, dir: Option<&Path>) -> Result<()> {
    let mut shown = Shown::default();
    match foil_data::download(name, dir, &mut |progress| shown.tell(progress))? {
        None => println!("`{name}` comes with foil; there is nothing to fetch"),
        Some(folder) => {
            println!("`{name}` is in {}", folder.display());
            if dir.is_some() && foil_data::find(name, None).is_err() {
                println!(
                    "to use it, write `data.path: {}` in a pipeline or set FOIL_DATA to that folder",
                    folder.display()
                );
            }
        }
    }
    Ok(())
}

/// A download on standard error: a progress bar in a terminal, and lines for what is worth
/// keeping.
#[derive(Default)]
struct Shown {
    bar: Option<ProgressBar>,
}

impl Shown {
    fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Present { file } => self.line(&format!("{file} already exists")),
            Progress::Started { file, url, have, of } => {
                let resumed = if have > 0 { format!(", from byte {have}") } else { String::new() };
                self.line(&format!("fetching {url} ({} MB{resumed})", (of + 500_000) / 1_000_000));
                // indicatif hides it where standard error is not a terminal.
                let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
                self.bar =
                    Some(ProgressBar::new(of).with_style(style).with_prefix(file.to_string()).with_position(have));
            }
            Progress::Received { have } => self.bar.iter().for_each(|bar| bar.set_position(have)),
            Progress::Failed { url, reason } => self.line(&format!("{url} failed: {reason}")),
            Progress::Finished { file } => self.line(&format!("{file} is complete; its SHA-256 matches")),
            _ => {}
        }
    }

    /// Ends the bar and writes a line.
    fn line(&mut self, line: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        eprintln!("{line}");
    }
}

const BAR: &str = "{prefix} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}, {eta} left";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_a_good_template() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }

    #[test]
    fn a_page_says_what_one_needs_to_know() {
        for set in foil_data::catalog() {
            let page = page(set);
            for part in ["where", "licence", "cite", set.title, set.homepage] {
                assert!(page.contains(part), "{part} is not in {page}");
            }
        }
    }
}
