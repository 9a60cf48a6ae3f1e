//! Run folders as training and evaluation leave them, made without either: the numbers are
//! invented, and alike each time.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One invented run.
#[derive(Clone)]
pub struct Made {
    pub name: &'static str,
    pub seed: u64,
    pub data: &'static str,
    pub eps: &'static str,
    pub epochs: u64,
    /// Natural accuracy and accuracy under PGD-20 at the end, in percent.
    pub ends: [f64; 2],
    pub attack: &'static str,
    pub loss: &'static str,
    /// Names of trust checks that fail.
    pub fails: &'static [&'static str],
}

/// The methods of the CAT paper's Table 2, roughly with its figures.
pub fn table_2() -> Vec<Made> {
    let pgd = "{ type: pgd, eps: 8/255, alpha: 2/255, steps: 10, mode: train }";
    let kl = "{ type: pgd, objective: kl, eps: 8/255, alpha: 2/255, steps: 10, start: gaussian }";
    let cat = "{ type: calibrated, beta1: 0.05, mask: mask_resnet18, inner: { type: pgd, eps: 8/255, alpha: 2/255, steps: 10 }, optimizer: { type: sgd, lr: 0.1 } }";
    let methods = [
        ("undefended", [95.0, 0.4], "none", "at", &["zero_gradients"][..]),
        ("AT", [83.0, 52.9], pgd, "at", &[]),
        ("ALP", [82.1, 52.4], pgd, "{ type: alp, lambda: 0.5 }", &[]),
        ("MMA", [84.4, 47.2], "{ type: an_pgd, d_max: 12/255, e_min: 0.005, steps: 10 }", "{ type: mma }", &[]),
        ("TRADES", [82.8, 52.8], kl, "{ type: trades, beta: 6 }", &[]),
        ("MART", [83.0, 53.9], pgd, "{ type: mart, beta: 5 }", &[]),
        (
            "FAT",
            [85.1, 52.1],
            "{ type: early_stopped_pgd, objective: ce, eps: 8/255, alpha: 0.007, steps: 10, tau: 1, omega: 0.001 }",
            "at",
            &[],
        ),
        ("CAT_cent", [84.1, 55.6], cat, "{ type: cat, beta: 5 }", &[]),
    ];
    let made = methods.map(|(name, ends, attack, loss, fails)| Made {
        name,
        seed: 0,
        data: "cifar10",
        eps: "8/255",
        epochs: 100,
        ends,
        attack,
        loss,
        fails,
    });
    made.into()
}

/// Numbers in [0, 1) that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
}

impl Made {
    /// Writes the run below `place`, evaluated.
    pub fn write(&self, place: &Path) -> PathBuf {
        let folder = self.train(place);
        fs::write(folder.join("eval.json"), serde_json::to_string_pretty(&self.eval()).unwrap()).unwrap();
        fs::write(folder.join("eval.images.csv"), self.images()).unwrap();
        fs::write(folder.join("curves.json"), serde_json::to_string_pretty(&self.curves()).unwrap()).unwrap();
        folder
    }

    /// Writes the run below `place`, trained only.
    pub fn train(&self, place: &Path) -> PathBuf {
        let folder = place.join(format!("{}-{}", self.name, self.seed));
        fs::create_dir_all(&folder).unwrap();
        let (Made { seed, data, eps, epochs, attack, loss, .. }, name) = (self, json!(self.name));
        let model = if *data == "cifar10" { "preact_resnet18" } else { "small_cnn" };
        let pipeline = format!(
            "name: {name}\nseed: {seed}\ndata: {data}\nmodel: {model}\nattack: {attack}\nloss: {loss}\n\
             optimizer: {{ type: sgd, lr: 0.1 }}\ntrain: {{ epochs: {epochs} }}\n\
             attacks:\n  pgd10: {{ type: pgd, eps: {eps}, alpha: 0.01, steps: 10 }}\n  pgd20: {{ type: pgd, eps: {eps}, alpha: 0.003, steps: 20 }}\n\
             select: natural + pgd10\nevaluate: [natural, pgd20]\n"
        );
        fs::write(folder.join("resolved.yaml"), pipeline).unwrap();
        fs::write(folder.join("metrics.jsonl"), self.metrics()).unwrap();
        folder
    }

    fn dice(&self) -> Dice {
        Dice(self.name.bytes().fold(self.seed + 7, |sum, byte| sum * 31 + u64::from(byte)))
    }

    fn metrics(&self) -> String {
        let (mut dice, mut lines) = (self.dice(), String::new());
        for epoch in 1..=self.epochs {
            let t = epoch as f64 / self.epochs as f64;
            let drop = if t > 0.75 { 1.0 } else { 0.86 };
            let rise = (1.0 - (-5.0 * t).exp()) * drop;
            let natural = self.ends[0] * rise + 2.0 * dice.roll() * (1.1 - t);
            let robust = self.ends[1] * rise - if t > 0.85 { 12.0 * (t - 0.85) } else { 0.0 } + dice.roll();
            let loss = 2.3 * (1.0 - 0.7 * rise) + 0.03 * dice.roll();
            let row = json!({
                "epoch": epoch, "step": epoch * 391, "train_adversarial_acc": robust.max(0.0), "train_loss": loss,
                "lr": if t > 0.75 { 0.01 } else { 0.1 }, "natural": natural.min(100.0), "pgd10": robust.clamp(0.0, 100.0),
            });
            writeln!(lines, "{row}").unwrap();
        }
        lines
    }

    fn eps(&self) -> f64 {
        let (over, under) = self.eps.split_once('/').unwrap_or((self.eps, "1"));
        over.parse::<f64>().unwrap() / under.parse::<f64>().unwrap()
    }

    fn record(&self, entries: Vec<Value>, n: u64) -> Value {
        json!({
            "model": self.name, "dataset": self.data, "threat": { "norm": "Linf", "eps": self.eps() }, "precision": "fp32",
            "device": "cpu", "seed": self.seed, "n": n, "entries": entries, "avg": null, "foil_version": "0.1.0",
            "libtorch": "2.11.0", "date": "2026-11-22T20:50:14Z", "config_hash": "ab".repeat(32),
        })
    }

    fn eval(&self) -> Value {
        let [natural, robust] = self.ends;
        // As the paper's Table 2 asks.
        let pgd =
            |steps: u64| json!({ "type": "pgd", "eps": self.eps(), "alpha": 0.003, "steps": steps, "start": "none" });
        let cw = json!({ "type": "pgd", "objective": "cw", "eps": 0.031, "alpha": 0.003, "steps": 30 });
        let entry = |name: &str, attack: Value, accuracy: f64| json!({ "name": name, "attack": attack, "accuracy": accuracy, "seconds": 2.5 });
        let mut record = self.record(
            vec![
                entry("natural", Value::Null, natural),
                entry("fgsm", json!({ "type": "fgsm", "eps": self.eps() }), (robust + 5.2).min(natural)),
                entry("pgd20", pgd(20), robust),
                entry("pgd100", pgd(100), (robust - 0.8).max(0.0)),
                entry("cw", cw, (robust - 2.6).max(0.0)),
                entry("autoattack", json!({ "type": "autoattack", "eps": self.eps() }), (robust - 4.3).max(0.0)),
            ],
            1000,
        );
        record["worst_case"] = json!((robust - 4.6).max(0.0));
        let check = |name: &&str| {
            let fails = self.fails.contains(name);
            let says = if fails {
                "most input gradients are zero: attacks by gradients are blind here"
            } else {
                "as it should be"
            };
            json!({ "name": name, "passed": !fails, "value": 0.5, "limit": 0.1, "says": says })
        };
        let names =
            ["zero_gradients", "randomised", "softmaxed", "eps_to_zero", "eps_large", "more_steps", "black_box"];
        record["trust"] = names.iter().map(check).collect();
        record
    }

    fn curves(&self) -> Value {
        let at = |share: f64| {
            self.ends[0] * (1.0 - share / 3.0).max(0.0).powf(0.4 + (self.ends[0] / (self.ends[1] + 1.0)).ln())
        };
        let entry = |name: String, share: f64, steps: u64, accuracy: f64| {
            let attack = json!({ "type": "pgd", "eps": share * self.eps(), "alpha": 0.01, "steps": steps });
            json!({ "name": name, "attack": attack, "accuracy": accuracy.clamp(0.0, 100.0), "seconds": 0.5 })
        };
        let mut entries = vec![json!({ "name": "natural", "attack": null, "accuracy": self.ends[0], "seconds": 0.1 })];
        entries.extend(
            [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0].map(|share| entry(format!("eps{share}"), share, 10, at(share))),
        );
        entries.extend(
            [1u64, 2, 5, 20, 50]
                .map(|steps| entry(format!("steps{steps}"), 1.0, steps, at(1.0) + 9.0 / steps as f64 - 0.9)),
        );
        self.record(entries, 200)
    }

    fn images(&self) -> String {
        let (mut dice, mut text) =
            (self.dice(), "index,label,natural,natural.margin,pgd20,pgd20.margin,broken_by\n".to_string());
        for index in 0..1000 {
            let label = index % 10;
            let right = dice.roll() * 100.0 < self.ends[0];
            let harder = if [3, 5].contains(&label) { 22.0 } else { -4.0 };
            let holds = right && dice.roll() * self.ends[0] < self.ends[1] - harder;
            let by = if !right {
                "natural"
            } else if !holds {
                "pgd20"
            } else {
                ""
            };
            writeln!(text, "{index},{label},{},1.5,{},-0.5,{by}", u8::from(right), u8::from(holds)).unwrap();
        }
        text
    }
}
