//! The state of an evaluation on disk, from which a killed one resumes.

use super::{AttackProgress, Images, Tick, Trial};
use crate::record::stamp;
use foil::atomic;
use foil::distributed::World;
use foil::engine::Network;
use foil::{AtPath, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// When the state is first written. After that, writing takes at most a tenth of the time; a kill
/// costs the work since the last write.
const FIRST: Duration = Duration::from_millis(100);

/// The finished and current attacks, by name, and the file that holds them.
#[derive(Debug)]
pub struct Saved {
    path: PathBuf,
    key: String,
    next: Instant,
    entries: Vec<(String, AttackProgress)>,
    images: Option<Images>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    key: String,
    entries: Vec<(String, AttackProgress)>,
}

impl Saved {
    /// The state of the evaluation whose record goes to `record`: `eval.json` has
    /// `eval.partial.json`. It resumes where an evaluation with the same config and weights
    /// stopped, and says on standard error if it begins again despite a file. `weights` is the
    /// digest of those that are evaluated.
    /// With `images` it keeps the attacked images there, and what was found without them begins
    /// again.
    pub fn open(record: &Path, config: &str, weights: &str, images: Option<Images>) -> Self {
        let path = record.with_extension("partial.json");
        let with_images = if images.is_some() { " with images" } else { "" };
        let key = format!("{} {weights}{with_images}", stamp::config_hash(config));
        let mut saved = Self { path, key, next: Instant::now() + FIRST, entries: Vec::new(), images };
        let Ok(bytes) = foil::regular::read(&saved.path, foil::regular::TEXT) else { return saved };
        let shown = saved.path.display();
        match serde_json::from_slice::<Stored>(&bytes) {
            Ok(stored) if stored.key == saved.key => {
                eprintln!("resuming an evaluation that was stopped: {shown}");
                saved.entries = stored.entries;
                if let Some(images) = &saved.images {
                    saved.entries.retain(|(name, progress)| images.has(name, progress));
                }
            }
            Ok(_) => eprintln!("{shown} was made with other settings or weights; starting over"),
            Err(_) => eprintln!("{shown} is not the state of an evaluation; starting over"),
        }
        saved
    }

    /// As [`Saved::open`] for one of several ranks: all get the first one's state, and only the
    /// first opens a file and writes to it.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn open_across(
        world: World,
        record: &Path,
        config: &str,
        weights: &str,
        images: Option<Images>,
    ) -> Result<Self> {
        if !world.is_joined() {
            return Ok(Self::open(record, config, weights, images));
        }
        let none = || Self {
            path: PathBuf::new(),
            key: String::new(),
            next: Instant::now(),
            entries: Vec::new(),
            images: None,
        };
        let mut saved = if world.is_first() { Self::open(record, config, weights, images) } else { none() };
        let entries = serde_json::to_string(&saved.entries).at("telling", record)?;
        saved.entries = serde_json::from_str(&world.first_says(&entries)?).at("reading", record)?;
        Ok(saved)
    }

    /// The state of an entry, if there is one for `n` images in these stages.
    fn get(&self, name: &str, fresh: &AttackProgress) -> Option<AttackProgress> {
        let (_, progress) = self.entries.iter().find(|(known, _)| known == name)?;
        (progress.stages == fresh.stages && progress.right().len() == fresh.right().len()).then(|| progress.clone())
    }

    /// Stores an entry's state, and writes the file if it is due.
    fn put(&mut self, name: &str, progress: &AttackProgress) -> Result<()> {
        let (started, time) = (Instant::now(), Instant::now() >= self.next);
        if self.path.as_os_str().is_empty() || (!time && !progress.is_done()) {
            return Ok(());
        }
        self.entries.retain(|(known, _)| known != name);
        self.entries.push((name.to_string(), progress.clone()));
        if !time {
            return Ok(());
        }
        self.images.iter().for_each(Images::sync);
        let stored = Stored { key: self.key.clone(), entries: std::mem::take(&mut self.entries) };
        let text = serde_json::to_vec(&stored);
        self.entries = stored.entries;
        atomic::write(&self.path, text.at("writing", &self.path)?).map_err(Error::of)?;
        self.next = Instant::now() + started.elapsed() * 10;
        Ok(())
    }

    /// Removes the file: the record is written.
    pub fn finish(self) {
        let _ = std::fs::remove_file(&self.path); // A state that is left behind does no harm: it matches this record.
        atomic::sweep(&self.path);
        self.images.iter().for_each(Images::sweep);
    }

    /// Resumes or starts `trial`. `watch` is called after each batch.
    ///
    /// # Errors
    /// What the attack reports, or when the state cannot be written.
    pub fn run(
        &mut self,
        trial: &mut Trial,
        network: &Network,
        watch: &mut dyn FnMut(&Tick),
    ) -> Result<AttackProgress> {
        let fresh = trial.begin();
        let mut progress = self.get(trial.name, &fresh).unwrap_or(fresh);
        trial.keeps_images |= self.images.is_some();
        let (name, mut failed, done) = (trial.name, None, progress.is_done());
        trial.advance(network, &mut progress, &mut |tick| {
            watch(tick);
            let kept = self.images.as_mut().zip(tick.found).map_or(Ok(()), |(images, found)| images.put(name, found));
            failed = kept.and_then(|()| self.put(name, tick.progress)).err();
            failed.is_none()
        })?;
        failed.map_or(Ok(()), Err)?;
        if let Some(images) = self.images.as_mut().filter(|_| !done) {
            images.finish(name, &progress, HashMap::from([("foil.evaluation".into(), self.key.clone())]))?;
        }
        self.put(name, &progress)?;
        Ok(progress)
    }
}
