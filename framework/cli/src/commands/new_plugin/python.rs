//! `foil new-plugin --python`: a file, its test, and a pipeline that uses it.

use super::camel;
use crate::commands::Exit;
use foil::{AtPath, Error};
use std::path::Path;
use std::process::ExitCode;

/// Kind, its template, the template's test, and the lines of a pipeline that use it.
const TEMPLATES: [(&str, &str, &str, &str); 6] = [
    (
        "loss",
        include_str!("../../../../../plugins/template/python/loss.py"),
        include_str!("../../../../../plugins/template/python/test_loss.py"),
        "model: small_cnn\n\
         attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\n\
         loss: { type: python, file: template_loss.py }\n",
    ),
    (
        "attack",
        include_str!("../../../../../plugins/template/python/attack.py"),
        include_str!("../../../../../plugins/template/python/test_attack.py"),
        concat!("model: small_cnn\nattack:\n  type: python\n  file: template_attack.py\n", growing!(), "loss: at\n"),
    ),
    (
        "objective",
        include_str!("../../../../../plugins/template/python/objective.py"),
        include_str!("../../../../../plugins/template/python/test_objective.py"),
        "model: small_cnn\n\
         attack: { type: pgd, objective: { type: python, file: template_objective.py }, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\n\
         loss: at\n",
    ),
    (
        "model",
        include_str!("../../../../../plugins/template/python/model.py"),
        include_str!("../../../../../plugins/template/python/test_model.py"),
        concat!(
            "model: { type: python, file: template_model.py }\nattack:\n  type: pgd\n",
            growing!(),
            "  alpha: 0.1\n  steps: 5\n  start: uniform\nloss: at\n"
        ),
    ),
    (
        "data",
        include_str!("../../../../../plugins/template/python/data.py"),
        include_str!("../../../../../plugins/template/python/test_data.py"),
        "data: { type: python, file: template_data.py }\n\
         normalize: data\n\
         model: small_cnn\n\
         attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\n\
         loss: at\n",
    ),
    (
        "scheduler",
        include_str!("../../../../../plugins/template/python/scheduler.py"),
        include_str!("../../../../../plugins/template/python/test_scheduler.py"),
        "model: small_cnn\n\
         attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 5, start: uniform }\n\
         loss: at\n\
         optimizer: { type: adam, lr: { type: python, file: template_scheduler.py, peak: 0.002 } }\n",
    ),
];

/// The data, where the plugin is not the data: digits that come with foil, sized for two cores.
const DIGITS: &str = "\
data: mnist_subset
images: { test_limit: 1000 }
";

/// The optimiser, where its learning rate is not the plugin.
const OPTIMIZER: &str = "optimizer: { type: adam, lr: 0.002 }\n";

/// The rest of the pipeline.
const REST: &str = "\
train: { epochs: 2, batch_size: 50 }
attacks:
  pgd20: { type: pgd, eps: 0.3, alpha: 0.03, steps: 20, start: uniform }
select: natural + pgd20
evaluate: [natural, pgd20]
";

/// Python's keywords, and modules that the templates import.
const TAKEN: &str = "and as assert async await break class continue def del elif else except finally foil for from global if import in \
    is lambda math nonlocal not or pass pytest raise return test torch try while with yield";

/// Writes the files into `folder`.
pub(super) fn run(kind: &str, name: &str, folder: &Path) -> Exit {
    let kinds = TEMPLATES.map(|(kind, ..)| kind);
    let Some((_, code, test, lines)) = TEMPLATES.into_iter().find(|(known, ..)| *known == kind) else {
        let help = foil_config::suggest(kind, &kinds, "kinds in Python");
        return Err(Error::new(format!("there is no template in Python for the kind `{kind}`")).help(help));
    };
    super::valid_name(name)?;
    if TAKEN.split_whitespace().any(|word| word == name) {
        return Err(Error::new(format!("`{name}` is not a valid name: Python uses it")).help("choose another"));
    }
    let template = format!("template_{kind}");
    let named = |text: &str| text.replace(&camel(&template), &camel(name)).replace(&template, name);
    let (on, data) = if kind == "data" { ("", "") } else { (" on digits", DIGITS) };
    let optimizer = if kind == "scheduler" { "" } else { OPTIMIZER };
    let head = format!("# The {kind} `{name}`{on}. No published figures.\nname: {name}\n");
    let pipeline = format!("{head}{lines}{data}{optimizer}{REST}");
    let files = [
        (format!("{name}.py"), named(code)),
        (format!("test_{name}.py"), named(test)),
        (format!("{name}.yaml"), named(&pipeline)),
    ];
    if let Some((taken, _)) = files.iter().find(|(name, _)| folder.join(name).exists()) {
        let taken = folder.join(taken);
        return Err(Error::new(format!("{} already exists", taken.display())).help("choose another name, or --dir DIR"));
    }
    std::fs::create_dir_all(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .at("making", folder)?;
    for (name, text) in &files {
        let path = folder.join(name);
        foil::atomic::write(&path, text).at("writing", &path)?;
    }
    let at = |name: &str| folder.join(name).display().to_string();
    let [code, test, pipeline] = files.each_ref().map(|(name, _)| at(name));
    println!("made {code}, {test}, {pipeline}");
    println!("  write   {code}");
    println!("  test    pytest {test}");
    println!("  check   foil check {pipeline}");
    println!("  train   foil train {pipeline}");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_renamed_whole_and_overwrites_nothing() {
        for (kind, ..) in TEMPLATES {
            let scratch = tempfile::tempdir().unwrap();
            run(kind, "my_own", scratch.path()).unwrap();
            for name in ["my_own.py", "test_my_own.py", "my_own.yaml"] {
                let text = std::fs::read_to_string(scratch.path().join(name)).unwrap();
                assert!(!text.to_lowercase().contains("template"), "{name}: {text}");
            }
            let code = std::fs::read_to_string(scratch.path().join("my_own.py")).unwrap();
            assert!(code.contains("class MyOwn(foil."), "{code}");
            assert!(run(kind, "my_own", scratch.path()).unwrap_err().message().contains("already exists"));
        }
    }

    #[test]
    fn names_and_kinds_are_checked() {
        let scratch = tempfile::tempdir().unwrap();
        let said = |kind, name| run(kind, name, scratch.path()).unwrap_err().message().to_string();
        assert!(said("optimizer", "mine").contains("no template in Python"));
        assert!(said("loss", "class").contains("Python uses it"));
        assert!(said("loss", "My-Loss").contains("not a valid name"));
    }
}
