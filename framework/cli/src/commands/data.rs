//! `foil data`: which data sets there are, where they lie, and fetching them.

mod show;
mod write;

use super::{Exit, text};
use foil::Result;
use foil::data::DataSource;
use foil::registry::{Component, Kind, Plugin, find, plugins};
use foil_data::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List data sets and where they are, fetch one, or look at one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil data list
  foil data get cifar10
  foil data get mnist --dir data/mnist
  foil data show mnist_subset

foil looks for a data set in its `path` if the pipeline sets that; otherwise in $FOIL_DATA, in data/ in the current
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
    /// Print how many images each class has, and write a sheet of the first ones.
    #[command(after_help = "Examples:
  foil data show mnist_subset
  foil data show configs/cifar10/at.yaml --out cifar10.png
  foil data show my.yaml data.path=elsewhere")]
    Show {
        /// Its name, or a pipeline that uses it.
        what: String,
        /// Changes of the pipeline's keys.
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// The picture to write.
        #[arg(long, default_value = "sheet.png", value_name = "PNG")]
        out: PathBuf,
    },
    /// Write a data set as a folder of pictures: train/CLASS/*.png and test/CLASS/*.png.
    #[command(after_help = "Examples:
  foil data write mnist_subset --out pictures --each 100
  foil data write cifar10 --out photographs")]
    Write {
        /// Its name, or a pipeline that uses it.
        what: String,
        /// Changes of the pipeline's keys.
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// The folder to make.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Training images of each class, the first ones; a fifth as many test images.
        #[arg(long, default_value_t = 100, value_name = "N")]
        each: usize,
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
            let pages: Vec<String> = data_plugins()
                .map(|plugin| match built(plugin) {
                    Some(set) => page(plugin, set.as_ref()),
                    None => to_be_told(plugin),
                })
                .collect();
            print!("{}", pages.join("\n"));
        }
        Command::List { json: true } => {
            let known: Vec<Known> = sets().iter().filter_map(|(plugin, set)| Known::of(plugin, set.as_ref())).collect();
            println!("{}", super::json(&known)?);
        }
        Command::Show { what, overrides, out } => show::show(what, overrides, out)?,
        Command::Write { what, overrides, out, each } => {
            let written = write::write(what, overrides, out, *each)?;
            println!("{written} pictures are in {}", out.display());
        }
        Command::Get { name, dir } => get(name, dir.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn data_plugins() -> impl Iterator<Item = &'static Plugin> {
    plugins().into_iter().filter(|plugin| plugin.kind() == <dyn DataSource>::NAME)
}

/// The data sets that need no keys.
pub(super) fn sets() -> Vec<(&'static Plugin, Box<dyn DataSource>)> {
    data_plugins().filter_map(|plugin| Some((plugin, built(plugin)?))).collect()
}

/// A data set with every key at its default; `None` for other plugins and where it needs keys.
pub(super) fn built(plugin: &Plugin) -> Option<Box<dyn DataSource>> {
    let component = (plugin.kind() == <dyn DataSource>::NAME).then(|| Component::named(plugin.name()).ok())??;
    component.build_alone().ok()
}

/// A data set for `--json`.
#[derive(serde::Serialize)]
struct Known {
    name: &'static str,
    title: String,
    about: String,
    /// Channels, height, width.
    image: [usize; 3],
    classes: usize,
    train: usize,
    test: usize,
    download_bytes: u64,
    /// Where it was found; null if it was not.
    found: Option<String>,
    licence: String,
    citation: String,
    homepage: String,
}

impl Known {
    fn of(plugin: &Plugin, set: &dyn DataSource) -> Option<Self> {
        let facts = set.facts().ok()?;
        Some(Self {
            name: plugin.name(),
            classes: facts.classes(),
            title: facts.title,
            about: facts.about,
            image: facts.image,
            train: facts.counts.train,
            test: facts.counts.test,
            download_bytes: set.remotes().iter().map(|remote| remote.bytes).sum(),
            found: set.locate().ok().map(|located| located.place),
            licence: facts.licence,
            citation: facts.citation,
            homepage: facts.homepage,
        })
    }
}

/// A data set's description for the terminal: what is known of it, and where it is.
pub(super) fn page(plugin: &Plugin, set: &dyn DataSource) -> String {
    let facts = match set.facts() {
        Ok(facts) => facts,
        Err(error) => return format!("{}  {error}\n", text::bold(plugin.name())),
    };
    let [channels, height, width] = facts.image;
    let place = set.locate().map_or_else(
        |error| {
            let message = error.message().trim_start_matches(&format!("`{}` ", plugin.name()));
            let mut lines = message.lines().map(|line| line.trim_start_matches("  --> "));
            let first = lines.next().unwrap_or_default();
            let places: Vec<&str> = lines.collect();
            format!("{first} ({}); {}", places.join(", "), error.suggestion().unwrap_or_default())
        },
        |located| located.place,
    );
    let size = format!(
        "{} training and {} test images of {channels} x {height} x {width}, {} classes",
        crate::report::thousands(facts.counts.train),
        crate::report::thousands(facts.counts.test),
        facts.classes()
    );
    let fields = [
        ("where", &place),
        ("size", &size),
        ("licence", &facts.licence),
        ("cite", &facts.citation),
        ("page", &facts.homepage),
    ];
    let mut page = format!("{}  {}: {}\n", text::bold(plugin.name()), facts.title, facts.about);
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        let value = text::wrap(value, text::width(), 11);
        page += &format!("  {name:<9}{}", value.trim_start());
    }
    page
}

/// A data set that needs keys.
fn to_be_told(plugin: &Plugin) -> String {
    let summary = text::wrap(&plugin.summary(), text::width(), 2);
    format!("{}\n{summary}  its keys: `foil explain data {}`\n", text::bold(plugin.name()), plugin.name())
}

fn get(name: &str, dir: Option<&Path>) -> Result<()> {
    let plugin = find(<dyn DataSource>::NAME, name)?;
    let set = built(plugin);
    let remotes = set.as_ref().map(|set| set.remotes()).unwrap_or_default();
    if remotes.is_empty() {
        let is_inside = set.is_some_and(|set| set.locate().is_ok_and(|located| located.files.is_empty()));
        let why = if is_inside { "comes with foil" } else { "is not published" };
        println!("`{name}` {why}; there is nothing to fetch");
        return Ok(());
    }
    let mut shown = Shown::default();
    let folder = dir.map_or_else(|| foil_data::cache_folder(name), Path::to_path_buf);
    foil_data::download(name, &remotes, &folder, &mut |progress| shown.tell(progress))?;
    println!("`{name}` is in {}", folder.display());
    if dir.is_some() && built(plugin).is_some_and(|set| set.locate().is_err()) {
        let folder = folder.display();
        println!(
            "to use it, write `data: {{ type: {name}, path: {folder} }}` in a pipeline or set FOIL_DATA to that folder"
        );
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
}
