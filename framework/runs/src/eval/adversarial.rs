//! The attacked images of an evaluation, as tensors in a folder beside the record: `eval.json` has
//! `eval.adversarial/pgd20.safetensors`.
//!
//! Each file has, for all images of the split in order, `x` `[N, C, H, W]` float32 in [0, 1] where
//! the attack left them, the labels `y` and indices in the test set `index`, `[N]` int64, the
//! verdicts `right` `[N]` bool, the `margin` `[N]` float32 at `x`, and `broken_by` `[N]` int64: the
//! number of the stage that broke the image, -1 where none did. `foil.stages` in its string map
//! names the stages, of which AutoAttack has several.

use super::AttackProgress;
use foil::atomic;
use foil::tensors;
use foil::{AtPath, Error, Result};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// The images of a batch as an attack left them, with their places in the split.
#[derive(Debug)]
pub struct Found {
    /// Places of the images, `[n]`.
    pub places: Vec<i64>,
    /// The images, `[n, C, H, W]` float32 on the CPU, contiguous.
    pub x: Tensor,
}

/// The folder, and the attack that is being written.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    index: Vec<i64>,
    labels: Vec<i64>,
    shape: [i64; 3],
    open: Option<(String, File)>,
}

impl Images {
    /// For the evaluation whose record goes to `record`, of images of shape `[C, H, W]` with these
    /// indices in the test set and labels. Makes the folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn beside(record: &Path, index: Vec<i64>, labels: Vec<i64>, shape: [i64; 3]) -> Result<Self> {
        let folder = record.with_extension("adversarial");
        std::fs::create_dir_all(&folder).at("making", &folder)?;
        Ok(Self { folder, index, labels, shape, open: None })
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of an attack. What a file's name cannot have, or hides it, becomes `_`.
    pub fn file(&self, attack: &str) -> PathBuf {
        let allowed = |c: char| c.is_alphanumeric() || "._@-".contains(c);
        let name: String = attack.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        self.folder.join(format!("{}.safetensors", name.replacen('.', "_", usize::from(name.starts_with('.')))))
    }

    /// The numbers of the attack under way, image after image.
    fn partial(&self, attack: &str) -> PathBuf {
        self.file(attack).with_extension("partial")
    }

    fn image(&self) -> u64 {
        self.shape.iter().product::<i64>() as u64 * 4
    }

    /// Whether what was saved goes with `progress`, the state of an attack that was stopped.
    pub(super) fn has(&self, attack: &str, progress: &AttackProgress) -> bool {
        match progress.is_done() {
            true => self.file(attack).exists(),
            false => self.partial(attack).metadata().is_ok_and(|found| found.len() == self.size()),
        }
    }

    fn size(&self) -> u64 {
        self.image() * self.labels.len() as u64
    }

    /// Puts what was found for some images in its place.
    ///
    /// # Errors
    /// When the disk is full, or the file cannot be written.
    pub(super) fn put(&mut self, attack: &str, found: &Found) -> Result<()> {
        let path = self.partial(attack);
        if self.open.as_ref().is_none_or(|(open, _)| open != attack) {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.at("opening", &path)?;
            file.set_len(self.size()).at("making room in", &path)?;
            self.open = Some((attack.to_string(), file));
        }
        let Some((_, file)) = &self.open else { return Ok(()) };
        let (size, image) = (self.image(), self.image() as usize);
        let mut bytes = vec![0u8; found.places.len() * image];
        found.x.f_copy_data_u8(&mut bytes, found.x.numel())?;
        for (place, bytes) in found.places.iter().zip(bytes.chunks_exact(image)) {
            file.write_all_at(bytes, *place as u64 * size).at("writing", &path)?;
        }
        Ok(())
    }

    /// Writes the file of an attack that is through. `card` is its string map besides the stages.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn finish(
        &mut self,
        attack: &str,
        progress: &AttackProgress,
        mut card: HashMap<String, String>,
    ) -> Result<()> {
        self.open = None;
        let path = self.partial(attack);
        let bytes = std::fs::read(&path).at("reading", &path)?;
        if bytes.len() as u64 != self.size() {
            return Err(Error::new(format!("{} has not the size of these images", path.display())));
        }
        let n = self.labels.len() as i64;
        let shape: Vec<i64> = std::iter::once(n).chain(self.shape).collect();
        let x = Tensor::f_from_data_size(&bytes, &shape, Kind::Float)?;
        drop(bytes);
        let (stages, broken_in) = progress.stages();
        let broken_by: Vec<i64> = broken_in.iter().map(|stage| stage.map_or(-1, |stage| stage as i64)).collect();
        let tensors = [
            ("x", x),
            ("y", Tensor::from_slice(&self.labels)),
            ("index", Tensor::from_slice(&self.index)),
            ("right", Tensor::from_slice(progress.right())),
            ("margin", Tensor::from_slice(&progress.margins())),
            ("broken_by", Tensor::from_slice(&broken_by)),
        ];
        card.insert("foil.attack".into(), attack.into());
        card.insert("foil.stages".into(), stages.join(","));
        tensors::write(&self.file(attack), &tensors.map(|(name, tensor)| (name.to_string(), tensor)), card)?;
        let _ = std::fs::remove_file(&path); // It is in the file.
        Ok(())
    }

    /// Makes what was written outlast a power cut, before a state that counts on it is.
    pub(super) fn sync(&self) {
        self.open.iter().for_each(|(_, file)| drop(file.sync_data()));
    }

    /// Removes what killed evaluations left.
    pub fn sweep(&self) {
        for file in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "partial") {
                let _ = std::fs::remove_file(&path); // Rubbish that stays does no harm.
            } else {
                atomic::sweep(&path);
            }
        }
    }
}

/// The rows of `x` `[n, C, H, W]` as [`Found`] wants them.
pub(super) fn on_host(x: &Tensor) -> Tensor {
    x.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous()
}
