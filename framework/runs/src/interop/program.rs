//! A TorchScript program as a run folder: it is its own model, and is evaluated as it is.

use super::container::card_of_program;
use super::described::Described;
use super::import::{Imported, Request, write};
use super::recognise::usual_data;
use super::standard::standard;
use crate::pipeline::{Pipeline, assemble, load};
use foil::engine::Normalize;
use foil::model::Model;
use foil::registry::Component;
use foil::{AtPath, Error, Result};
use std::path::Path;
use tch::{Device, Kind};

/// Makes a run folder with a copy of the program.
///
/// # Errors
/// When it does not run on the images of any candidate data set, or the folder cannot be written.
pub(super) fn import(request: &Request) -> Result<Imported> {
    if request.known.model.is_some() || request.key.is_some() {
        return Err(Error::new(format!("{} is a TorchScript program, which is its own model", request.file.display()))
            .help("leave --model and --key out"));
    }
    let file = std::path::absolute(&request.file).at("finding", &request.file)?;
    let model = serde_json::json!({ "type": "torchscript", "file": file });
    let model: Component<dyn Model> = serde_json::from_value(model).at("using", &request.file)?;
    let card = Described::of(&card_of_program(&request.file)?);
    let name = request.file.file_stem().map_or("imported".into(), |stem| stem.to_string_lossy().into_owned());
    // foil's own programs have the normalisation inside.
    let normalize = request.normalize.clone().unwrap_or(Normalize::NONE);
    let base = request.config.as_deref().map(|path| load(path, &[])).transpose()?.map(|loaded| loaded.pipeline);
    let data = match request.known.data.clone().or(card.data) {
        Some(data) => vec![data],
        None => usual_data(),
    };
    let pipelines: Vec<Pipeline> = match base {
        Some(base) => {
            let normalize = request.normalize.clone().unwrap_or_else(|| base.normalize.clone());
            vec![Pipeline { model, normalize, init: None, ..base }]
        }
        None => {
            let made = data.iter().map(|data| standard(&name, &model, data, &normalize, card.threat));
            made.collect::<Result<_>>()?
        }
    };
    let mut problem = None;
    for pipeline in pipelines {
        match assemble(&pipeline, Kind::Float, Device::Cpu, true) {
            Ok(parts) => {
                let mut notes =
                    vec![format!("a TorchScript program, taken as it is, on images of {}", pipeline.data.name())];
                if request.normalize.is_none() && request.config.is_none() {
                    notes.push("images go in unchanged; --normalize overrides this".into());
                }
                return Ok(Imported { folder: write(request, &name, &pipeline, &parts, None)?, notes });
            }
            Err(found) => problem = problem.or_else(|| found.into_iter().next()),
        }
    }
    let why = problem.map_or(String::new(), |problem| format!(": {}", problem.message));
    let data: Vec<&str> = data.iter().map(Component::name).collect();
    Err(Error::new(format!("{} does not run on images of {}{why}", request.file.display(), data.join(", ")))
        .help("--data names the data set that it classifies"))
}

/// Whether the file at `path` is such a program.
pub(super) fn is_one(path: &Path) -> bool {
    super::container::is_program(path)
}
