//! Trained networks that come with foil: `configs/demo/weights/make.sh` makes them.

use foil::{AtPath, Result, atomic};
use foil_runs::interop::{Request, import};
use foil_runs::train::Folder;
use std::path::{Path, PathBuf};

/// A network's weights, in half precision with their model card.
pub(super) struct Shipped {
    /// The name of its pipeline, and of its folder's beginning.
    name: &'static str,
    weights: &'static [u8],
    mask: Option<&'static [u8]>,
}

pub(super) const NETWORKS: [Shipped; 3] = [
    Shipped { name: "at", weights: include_bytes!("../../../../../configs/demo/weights/at.safetensors"), mask: None },
    Shipped {
        name: "trades",
        weights: include_bytes!("../../../../../configs/demo/weights/trades.safetensors"),
        mask: None,
    },
    Shipped {
        name: "cat_cw",
        weights: include_bytes!("../../../../../configs/demo/weights/cat_cw.safetensors"),
        mask: Some(include_bytes!("../../../../../configs/demo/weights/cat_cw_mask.safetensors")),
    },
];

impl Shipped {
    /// Makes a run of it in `dir`, as `foil import` does, unless it is there.
    pub(super) fn unpack(&self, dir: &Path, configs: &Path) -> Result<PathBuf> {
        let run = dir.join(format!("{}_20_epochs", self.name));
        if Folder::open(&run).is_ok() {
            return Ok(run);
        }
        let weights = dir.join("weights");
        std::fs::create_dir_all(&weights).at("making", &weights)?;
        let file = weights.join(format!("{}.safetensors", self.name));
        atomic::write(&file, self.weights).at("writing", &file)?;
        let config = Some(configs.join("weights").join(self.name).with_extension("yaml"));
        let request = Request { file, config, out: Some(run.clone()), ..Request::default() };
        let folder = Folder::open(&import(&request)?.folder)?;
        if let Some(mask) = self.mask {
            atomic::write(folder.best_mask(), mask).at("writing", &folder.best_mask())?;
        }
        Ok(run)
    }
}
