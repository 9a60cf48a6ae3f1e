//! The parts of a run that evaluate it. What trained it is not among them, so that a run can be
//! evaluated where its loss is not.

use super::{attacks, begin, prepared};
use crate::pipeline::facts::unusable;
use crate::pipeline::{Pipeline, checks, provisions};
use foil::attack::Attack;
use foil::distinct;
use foil::distributed::World;
use foil::engine::Network;
use foil::registry::DataFacts;
use foil_config::Problem;
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Device, Kind};

/// A run's network and the attacks on it.
pub struct Evaluated {
    /// The network, with its initial weights.
    pub network: Network,
    /// Attacks for selection and evaluation.
    pub attacks: BTreeMap<String, Box<dyn Attack>>,
    /// The names of those of the final evaluation, in order.
    pub evaluate: Vec<String>,
    /// Facts about the data.
    pub data: DataFacts,
}

impl std::fmt::Debug for Evaluated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} under {:?}", self.network, self.attacks.keys())
    }
}

/// Builds the parts of `pipeline` that evaluate it, for one rank of `world`; loss, training attack,
/// optimiser and what follows them are not looked at. With `dry` the network is declared but not
/// initialised.
///
/// # Errors
/// All problems of those parts, by key path.
pub fn assemble_evaluation(
    world: World,
    pipeline: &Pipeline,
    kind: Kind,
    device: Device,
    dry: bool,
) -> Result<Evaluated, Vec<Problem>> {
    let problems = RefCell::default();
    let (cx, network) = begin(world, pipeline, kind, device, dry, &problems)?;
    let data = cx.data;
    if let Some(network) = &network {
        checks::classifier(&cx, pipeline, network);
    }
    let attacks = attacks(&cx, pipeline);
    checks::evaluation(&cx, &attacks);
    provisions::evaluation(&cx, &attacks);
    checks::selection(&cx, pipeline);

    let problems = distinct(problems.into_inner());
    match network {
        Some(network) if problems.is_empty() => {
            let moments = crate::data::moments(pipeline, dry);
            let (mean, std) = moments.map_err(|error| vec![unusable(&error)])?;
            let network = prepared(network, pipeline, [&mean, &std]);
            Ok(Evaluated { network, attacks, evaluate: pipeline.evaluate.clone(), data })
        }
        _ => Err(problems),
    }
}
