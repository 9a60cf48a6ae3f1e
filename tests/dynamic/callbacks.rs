//! A panic in any callback of a library's plugin is an error that names the plugin, and leaves the
//! last checkpoint.

use super::path;
use crate::tiny::Place;

const BASE: &str = "
name: tiny
device: cpu
data: mnist_subset
images: { train_limit: 40, test_limit: 20 }
model: panicking_model
attack: none
loss: at
optimizer: { type: sgd, lr: 0.05 }
train: { epochs: 2, batch_size: 20, eval_batch_size: 20 }
";

/// An attack whose parts come from the program: its calls go there and back.
const ATTACK: &str = "attack={ type: panicking_attack, inner: { type: pgd, eps: 0.1, alpha: 0.1, steps: 1 }, mask: mask_cnn, \
    optimizer: { type: sgd, lr: 0.01 }, scale: { type: multistep, start: 1, milestones: [1] } }";

struct Library {
    place: Place,
    path: String,
    runs: std::cell::Cell<u32>,
}

impl Library {
    fn new() -> Self {
        Self { place: Place::with(BASE), path: path("foil_misbehaving"), runs: 0.into() }
    }

    fn train(&self, overrides: &[&str]) -> crate::tiny::Ended {
        self.runs.set(self.runs.get() + 1);
        let run = format!("run{}", self.runs.get());
        self.place.foil(
            &[&["train", "tiny.yaml", "--no-eval", "--plugins", &self.path, "--run-dir", &run], overrides].concat(),
        )
    }

    #[track_caller]
    fn panics(&self, place: &str, overrides: &[&str], parts: &[&str]) {
        let message = self.train(overrides).error();
        for part in [&format!("told to panic in {place}")].into_iter().map(String::as_str).chain(parts.iter().copied())
        {
            assert!(message.contains(part), "{place}: `{part}` is not in\n{message}");
        }
    }
}

#[test]
fn a_loss() {
    let library = Library::new();
    library.train(&["loss=panicking_loss"]).ok();
    for place in ["build", "passes", "needs", "least_classes"] {
        library.panics(place, &["loss=panicking_loss", &format!("loss.at={place}")], &["loss"]);
    }
    let in_step = &["epoch 2, step 2: loss `panicking_loss`", "misbehaving/src/lib.rs", "last good checkpoint is"];
    library.panics("forward", &["loss=panicking_loss", "loss.at=forward", "loss.call=3"], in_step);
    let run = library.place.run(&format!("run{}", library.runs.get()));
    assert_eq!(run.position()["epoch"], 1, "the last checkpoint stands");
    let refused = library.train(&["loss=panicking_loss", "loss.at=torch"]).error();
    assert!(refused.contains("loss `panicking_loss`: The size of tensor a"), "{refused}");
}

#[test]
fn an_attack_with_parts_of_the_program() {
    let library = Library::new();
    library.train(&[ATTACK]).ok();
    for place in ["build", "mode", "provides", "learning", "state", "perturb", "after_update", "learner", "gradient"] {
        let within = match place {
            "perturb" | "after_update" | "gradient" => "epoch 1, step 1: attack `panicking_attack`",
            "build" => "`attack` cannot be built",
            _ => "attack `panicking_attack`",
        };
        let evaluate = ATTACK.replacen("attack", "attacks.evaluate", 1);
        let overrides = if place == "mode" {
            [&evaluate, "attacks.evaluate.at=mode"]
        } else {
            [ATTACK, &format!("attack.at={place}")]
        };
        library.panics(place, &overrides, &[within]);
    }
}

#[test]
fn the_programs_own_panics_reach_the_library_and_come_back() {
    // pgd of the program ascends an objective of the library for an attack of the library: three
    // crossings.
    let library = Library::new();
    let objective = "attack.inner.objective={ type: panicking_objective, at: value }";
    library.panics("value", &[ATTACK, objective], &["epoch 1, step 1: attack `panicking_attack`"]);
    // And a model of the library as the mask of that attack, under an optimiser of the library.
    library.panics(
        "forward",
        &[ATTACK, "attack.mask={ type: panicking_model, at: forward }"],
        &["attack `panicking_attack`"],
    );
    library.panics(
        "update",
        &[ATTACK, "attack.optimizer={ type: panicking_optimizer, at: update }"],
        &["attack `panicking_attack`"],
    );
    library.panics(
        "value",
        &[ATTACK, "attack.scale={ type: panicking_scheduler, at: value, step: 1 }"],
        &["epoch 1, step 2: scheduler `panicking_scheduler`"],
    );
}

#[test]
fn objectives_schedulers_models_and_optimizers() {
    let library = Library::new();
    let pgd = "attack={ type: pgd, eps: 0.1, alpha: 0.1, steps: 1, objective: panicking_objective }";
    library
        .train(&[pgd, "model=panicking_model", "optimizer=panicking_optimizer", "optimizer.lr=panicking_scheduler"])
        .ok();
    for place in ["value", "needs_clean", "least_classes"] {
        library.panics(place, &[pgd, &format!("attack.objective.at={place}")], &["objective `panicking_objective`"]);
    }
    for place in ["check", "value"] {
        library.panics(place, &[&format!("optimizer.lr={{ type: panicking_scheduler, at: {place} }}")], &[]);
    }
    for place in ["build", "forward", "input_gradient", "is_mask"] {
        library.panics(place, &[pgd, "model=panicking_model", &format!("model.at={place}")], &["model"]);
    }
    for place in ["prepare", "update", "learning_rate", "state"] {
        library.panics(
            place,
            &["optimizer=panicking_optimizer", &format!("optimizer.at={place}")],
            &["optimizer `panicking_optimizer`"],
        );
    }
}

#[test]
fn what_a_library_logs_is_in_the_runs_log_with_its_span() {
    let library = Library::new();
    library.train(&["loss=logging_loss"]).ok();
    let log = library.place.run("run1").text("log.txt");
    let said: Vec<&str> = log.lines().filter(|line| line.contains("A loss speaks.")).collect();
    assert_eq!(said.len(), 4, "{log}");
    assert!(said[0].contains("formula{part=\"cross-entropy\"}") && said[0].contains("images=20"), "{}", said[0]);
    assert!(!log.contains("Nobody asked for this."), "the filter is the program's: {log}");
}
