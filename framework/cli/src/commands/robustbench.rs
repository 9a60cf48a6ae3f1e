//! `foil robustbench`: what a submission to RobustBench consists of.

use super::{Exit, export, note};
use crate::compare::Row;
use crate::report::gather::Run;
use crate::report::paper::{Paper, card, has_autoattack};
use foil::{AtPath, Error, Result, atomic};
use foil_runs::interop::export::Format;
use foil_runs::record::stamp;
use foil_runs::train::Folder;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write what a submission to RobustBench needs: the model's card, its weights, a program that
/// loads them, and the text of the request.
///
/// The figures are those of the run's evaluation: AutoAttack's standard version on all test images.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil eval runs/trades 'evaluate=[natural,autoattack]'
  foil robustbench runs/trades --title 'Robust Digits' --authors 'Ada Lovelace, Alan Turing'
      runs/trades/robustbench: the card, the weights, model.py and SUBMISSION.md
  foil robustbench runs/wang --title … --authors … --synthetic
      the extra images of the run are generated ones, which RobustBench does not count as data")]
pub(super) struct Args {
    /// The run folder.
    run: PathBuf,
    /// The paper's title.
    #[arg(long)]
    title: String,
    /// Its authors, separated by commas: Ada Lovelace, Alan Turing.
    #[arg(long)]
    authors: String,
    /// Where it can be read.
    #[arg(long, default_value = "")]
    link: String,
    /// Where it appeared, such as `ICLR 2027`.
    #[arg(long, default_value = "Unpublished")]
    venue: String,
    /// The model's name in RobustBench (default: first author, year, first word of the title).
    #[arg(long)]
    name: Option<String>,
    /// The run's extra images are generated ones.
    #[arg(long)]
    synthetic: bool,
    /// The folder to write (default: robustbench in the run's folder).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Data sets that RobustBench has leaderboards for.
const BOARDS: [&str; 3] = ["cifar10", "cifar100", "imagenet"];

pub(super) fn run(args: &Args) -> Exit {
    let run = Run::load(&args.run)?;
    let dataset = check(&run, &args.run)?;
    if !BOARDS.contains(&dataset.as_str()) {
        note(format!("RobustBench has leaderboards for {}, not for {dataset}", BOARDS.join(", ")));
    }
    let year = stamp::now().chars().take(4).collect::<String>();
    let name = args.name.clone().unwrap_or_else(|| model_name(&args.authors, &year, &args.title));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        return Err(Error::new(format!("`{name}` is not the name of a model in RobustBench"))
            .help("give one of letters, digits, `_`, `-` and `.`: --name Lovelace2026Robust"));
    }
    let paper = Paper {
        title: &args.title,
        authors: &args.authors,
        link: &args.link,
        venue: &args.venue,
        synthetic: args.synthetic,
    };
    let threat = run.eval().map(|eval| eval.threat.to_string()).unwrap_or_default();
    let row = Row { label: name.clone(), runs: vec![(run, None)] };
    let card = card(&row, &paper).ok_or_else(|| Error::new("this run has no evaluation"))?;
    let out = args.out.clone().unwrap_or_else(|| args.run.join("robustbench"));
    let folder = Folder::open(&args.run)?;
    std::fs::create_dir_all(&out).at("making", &out)?;
    let weights = [("pt", Format::Torchscript), ("pth", Format::Pt)];
    for (ending, format) in weights {
        export::model(&folder, &folder.best(), (format, false), false, &out.join(format!("{name}.{ending}")))?;
    }
    let text = serde_json::to_string_pretty(&card).map_err(Error::of)? + "\n";
    let files = [
        (format!("{name}.json"), text),
        ("model.py".to_string(), program(&name)),
        ("SUBMISSION.md".to_string(), request(&name, &threat, &card)),
    ];
    for (file, text) in &files {
        atomic::write(out.join(file), text).at("writing", &out.join(file))?;
    }
    for file in files.iter().map(|(file, _)| file.clone()).chain(weights.map(|(ending, _)| format!("{name}.{ending}")))
    {
        println!("{}", out.join(file).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The data set of an evaluation that a leaderboard accepts.
fn check(run: &Run, folder: &Path) -> Result<String> {
    let help = format!("evaluate it: foil eval {} 'evaluate=[natural,autoattack]'", folder.display());
    let Some(eval) = run.eval() else {
        return Err(Error::new(format!("{} is not evaluated", folder.display())).help(help));
    };
    let all = run.images_to_evaluate();
    if eval.n < all {
        let message = format!("its evaluation has {} images, but a leaderboard takes all {all}", eval.n);
        return Err(Error::new(message).help(help));
    }
    let has = |name: &str| eval.entries.iter().any(|entry| entry.name == name);
    match has_autoattack(eval) && has(foil_runs::eval::NATURAL) {
        true => Ok(eval.dataset.clone()),
        false => Err(Error::new("its evaluation has no natural accuracy, or none under AutoAttack's standard version")
            .help(help)),
    }
}

/// `Lovelace2026Robust`: the first author's last name, the year, and the title's first word that is
/// not an article.
fn model_name(authors: &str, year: &str, title: &str) -> String {
    let letters = |word: &str| word.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let first = authors.split(',').next().unwrap_or_default();
    let last = letters(first.split_whitespace().next_back().unwrap_or_default());
    let mut words = title.split_whitespace().map(letters).filter(|word| !word.is_empty());
    let word = words.find(|word| !["a", "an", "the"].contains(&word.to_ascii_lowercase().as_str()));
    format!("{last}{year}{}", word.unwrap_or_default())
}

/// The program that loads the model.
fn program(name: &str) -> String {
    format!(
        "\"\"\"{name}: images [N, C, H, W] in [0, 1] to logits, with the normalisation inside.\"\"\"\n\n\
         from pathlib import Path\n\n\
         import torch\n\n\n\
         def load() -> torch.nn.Module:\n    \
         \"\"\"The model in eval mode; {name}.pth has the same weights as a state_dict.\"\"\"\n    \
         return torch.jit.load(Path(__file__).with_name(\"{name}.pt\"), map_location=\"cpu\").eval()\n"
    )
}

/// The text of the request for a new entry.
fn request(name: &str, threat: &str, card: &serde_json::Value) -> String {
    let of = |key: &str| match &card[key] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    let yes = |key: &str| if card[key] == true { "yes" } else { "no" };
    let footnote = if card["footnote"].is_string() { format!("\n{}\n", of("footnote")) } else { String::new() };
    format!(
        "# {name}\n\n\
         - Title: {}\n- Link: {}\n- Authors: {}\n- Venue: {}\n\n\
         - Data set: {}\n- Threat model: {}\n- Architecture: {}\n\
         - Clean accuracy: {} %\n- Robust accuracy (AutoAttack, standard): {} %\n- Additional data: {}\n\
         - Input gradients are not zero, forward passes are deterministic, nothing is optimised inside: {}\n{footnote}\n\
         Evaluated by `foil eval` with AutoAttack's standard version on all test images. Weights: {name}.pth \
         (state_dict) and {name}.pt (TorchScript, normalisation inside, loaded by model.py). Say under which \
         licence they are.\n",
        of("name"),
        of("link"),
        of("authors"),
        of("venue"),
        of("dataset"),
        threat,
        of("architecture"),
        of("clean_acc"),
        of("autoattack_acc"),
        yes("additional_data"),
        if card["unreliable"] == true { "NO, see the trust checks of the evaluation" } else { "yes" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_zoo() {
        assert_eq!(model_name("Ada Lovelace, Alan Turing", "2026", "The Robust Digits"), "Lovelace2026Robust");
        assert_eq!(model_name("Wang, Zekai", "2023", "Better Diffusion"), "Wang2023Better");
    }
}
