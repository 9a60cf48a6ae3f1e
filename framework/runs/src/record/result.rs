//! The record of one evaluation, as a small JSON file with RobustBench's terms where it has them.
//!
//! ```json
//! { "model": "cat_cw_cifar10", "dataset": "cifar10", "threat": { "norm": "Linf", "eps": 0.03137254901960784 }, "n": 10000,
//!   "entries": [{ "name": "pgd20", "attack": { "type": "pgd", "steps": 20 }, "accuracy": 55.3, "seconds": 41.2 }], "avg": 55.3 }
//! ```

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::card;
use super::trust::TrustCheck;
use crate::eval::Corruptions;
use foil::atomic;
use foil::attack::Threat;
use foil::tensors;

/// One model under a suite of attacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    /// The model's name, from its card.
    pub model: String,
    /// The test set.
    pub dataset: String,
    /// The threat model. An entry whose attack is `null` saw clean images.
    pub threat: Threat,
    /// `fp32` or `tf32`.
    pub precision: String,
    /// The device, such as `cpu` or `NVIDIA H100 80GB HBM3`.
    pub device: String,
    /// The seed of the attacks' random starts.
    pub seed: u64,
    /// Images evaluated.
    pub n: u64,
    /// One for each attack, in the order of the suite.
    pub entries: Vec<AttackResult>,
    /// Images classified correctly under every entry, in percent of `n`: the worst case of each
    /// image over the whole evaluation. Absent in old records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_case: Option<f64>,
    /// Accuracy on corrupted images, where that was asked for. It is not part of `avg` and
    /// `worst_case`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruptions: Option<Corruptions>,
    /// Whether these figures can be trusted; empty if nothing was checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<TrustCheck>,
    /// The mean accuracy over all entries, clean ones too (as in CAT's Table 2), in percent. Absent
    /// without entries.
    pub avg: Option<f64>,
    /// The version of foil that evaluated.
    pub foil_version: String,
    /// The version of libtorch that it ran on.
    pub libtorch: String,
    /// When: UTC, RFC 3339.
    pub date: String,
    /// [`config_hash`](super::stamp::config_hash) of the resolved config.
    pub config_hash: String,
    /// [`digest`](foil::tensors::digest) of the weights that were evaluated; readers compare it
    /// with the current weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// How many epochs these weights were trained; 0 if their card does not say.
    #[serde(default)]
    pub epoch: u64,
    /// SHA-256 of the table of images that was written beside it, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    /// SHA-256 of all the rest as compact JSON, in hex; [`EvalRecord::load`] holds the record
    /// against it. One that was written by other programs may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A model's result under one attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackResult {
    /// The attack's name in the suite, such as `pgd20`; `natural` for clean images.
    pub name: String,
    /// The attack's resolved settings; `null` for clean images.
    #[serde(default)]
    pub attack: serde_json::Value,
    /// Images classified correctly, in percent of `n`.
    pub accuracy: f64,
    /// Wall time, in seconds.
    pub seconds: f64,
    /// The attacks that a chain such as `autoattack` runs one after the other; empty for a single
    /// attack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
}

/// One attack of a chain: it sees the images that resisted all stages before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name in the chain, such as `apgd_ce`.
    pub name: String,
    /// Images classified correctly after it, in percent of the record's `n`.
    pub accuracy: f64,
    /// Images that it broke.
    pub broken: u64,
    /// Wall time, in seconds.
    pub seconds: f64,
}

impl EvalRecord {
    /// Writes the record to `path`, indented, whole or not at all. `avg` and `digest` are computed
    /// here.
    ///
    /// # Errors
    /// `InvalidInput` when an accuracy is not between 0 and 100 percent; otherwise the system's
    /// error with the path in its text.
    pub fn write(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        if let Some(why) = self.problem() {
            return Err(atomic::at(path, io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        self.avg = self.mean();
        self.digest = Some(self.sum()?);
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        atomic::write(path, text)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// `InvalidData` when the file holds something else or is damaged, otherwise the system's error;
    /// both with the path in the text.
    pub fn load(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let invalid =
            |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("not an evaluation record: {why}"));
        let read = || -> io::Result<Self> {
            let record: EvalRecord = serde_json::from_slice(&foil::regular::read(path, foil::regular::TEXT)?)
                .map_err(|error| invalid(error.to_string()))?;
            record.problem().map_or(Ok(()), |why| Err(invalid(why)))?;
            match &record.digest {
                Some(written) if *written != record.sum()? => {
                    let why = "the evaluation record is damaged: it is not what was written";
                    Err(io::Error::new(io::ErrorKind::InvalidData, why))
                }
                _ => Ok(record),
            }
        };
        read().map_err(|error| atomic::at(path, error))
    }

    /// How the evaluated weights differ from those of the checkpoint at `path`, in words; `None`
    /// if they are the same, or if the checkpoint no longer exists.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub fn outdated(&self, path: &Path) -> foil::Result<Option<String>> {
        let Some(evaluated) = self.weights.as_ref().filter(|_| path.exists()) else { return Ok(None) };
        let (found, now) = (tensors::digest(path)?, card::epochs(&tensors::metadata(path)?));
        let name = path.file_name().unwrap_or_default().display();
        Ok(match self.epoch {
            _ if *evaluated == found => None,
            epoch if epoch < now => Some(format!("from older weights (epoch {epoch}; {name} is from epoch {now})")),
            epoch => Some(format!("from weights other than {name} (epoch {epoch}; that is from epoch {now})")),
        })
    }

    /// The entry called `name`.
    pub fn entry(&self, name: &str) -> Option<&AttackResult> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// What `digest` is to be.
    fn sum(&self) -> io::Result<String> {
        Ok(foil::hash::hash(&serde_json::to_vec(&Self { digest: None, ..self.clone() })?))
    }

    fn mean(&self) -> Option<f64> {
        let sum: f64 = self.entries.iter().map(|entry| entry.accuracy).sum();
        (!self.entries.is_empty()).then(|| sum / self.entries.len() as f64)
    }

    fn problem(&self) -> Option<String> {
        let stages = self.entries.iter().flat_map(|entry| entry.stages.iter().map(|s| (&s.name, s.accuracy)));
        let entries = self.entries.iter().map(|entry| (&entry.name, entry.accuracy));
        let parts =
            self.corruptions.iter().flat_map(|all| all.parts.iter().map(|part| (&part.corruption, part.accuracy)));
        let (name, accuracy) =
            entries.chain(stages).chain(parts).find(|(_, accuracy)| !(0.0..=100.0).contains(accuracy))?;
        Some(format!("the accuracy of `{name}` is {accuracy}, not a percentage"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Norm;
    use std::fs;

    fn record(accuracies: &[(&str, f64)]) -> EvalRecord {
        let attack =
            |name: &str| if name == "natural" { serde_json::Value::Null } else { serde_json::json!({ "type": name }) };
        let entry = |&(name, accuracy): &(&str, f64)| AttackResult {
            name: name.into(),
            attack: attack(name),
            accuracy,
            seconds: 1.5,
            stages: vec![],
        };
        EvalRecord {
            model: "cat_cw".into(),
            dataset: "cifar10".into(),
            threat: Threat { norm: Norm::Linf, eps: 8.0 / 255.0 },
            precision: "fp32".into(),
            device: "cpu".into(),
            seed: 0,
            n: 10_000,
            entries: accuracies.iter().map(entry).collect(),
            worst_case: None,
            corruptions: None,
            trust: vec![],
            avg: None,
            foil_version: "0.1.0".into(),
            libtorch: "2.11.0".into(),
            date: "2026-03-21T09:30:00Z".into(),
            config_hash: "ab".repeat(32),
            weights: Some("cd".repeat(32)),
            epoch: 140,
            images: None,
            digest: None,
        }
    }

    /// CAT, Table 2, AT on CIFAR-10: the average is that of the five columns.
    #[test]
    fn written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        let mut record = record(&[("natural", 84.0), ("pgd20", 50.5)]);
        record.write(&path).unwrap();
        assert_eq!(record.avg, Some(67.25));
        assert_eq!(EvalRecord::load(&path).unwrap(), record);
        assert_eq!(record.entry("pgd20").unwrap().accuracy, 50.5);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"eps\": 0.03137254901960784\n") && text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn stages_and_checks_come_back_and_old_records_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        let mut record = record(&[("natural", 84.0), ("autoattack", 48.0)]);
        record.write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("stages") && !text.contains("trust") && !text.contains("worst_case"), "{text}");
        let stage = Stage { name: "apgd_ce".into(), accuracy: 50.0, broken: 3400, seconds: 9.0 };
        record.entries[1].stages.push(stage);
        record.worst_case = Some(47.9);
        let says = "no input gradient is zero".into();
        record.trust.push(TrustCheck {
            name: "zero_gradients".into(),
            passed: Some(true),
            value: 0.0,
            limit: 1.0,
            says,
        });
        record.write(&path).unwrap();
        assert_eq!(EvalRecord::load(&path).unwrap(), record);
        record.entries[1].stages[0].accuracy = 101.0;
        assert!(record.write(&path).unwrap_err().to_string().contains("the accuracy of `apgd_ce` is 101"));
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        for accuracy in [f64::NAN, -0.1, 100.5] {
            let error = record(&[("fgsm", accuracy)]).write(&path).unwrap_err().to_string();
            assert!(error.contains("the accuracy of `fgsm` is"), "{error}");
        }
        assert!(!path.exists());
    }

    /// Every bit of a record, one after the other: what is read is what was written.
    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        let mut record = record(&[("natural", 84.0), ("pgd20", 50.5)]);
        record.write(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut found = 0;
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bytes).unwrap();
            match EvalRecord::load(&path) {
                // White space becomes other white space; or the name `digest` another name.
                Ok(read) => {
                    assert_eq!(EvalRecord { digest: record.digest.clone(), ..read }, record, "bit {bit}");
                }
                Err(_) => found += 1,
            }
        }
        assert!(found > 6 * whole.len(), "{found} of {}", 8 * whole.len());
    }

    #[test]
    fn another_file_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        fs::write(&path, "{\"model\": 3}").unwrap();
        let error = EvalRecord::load(&path).unwrap_err().to_string();
        assert!(error.contains("result.json: not an evaluation record: invalid type"), "{error}");
        assert_eq!(EvalRecord::load(folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
