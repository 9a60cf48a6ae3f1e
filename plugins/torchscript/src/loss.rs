//! A loss from a TorchScript file.

use crate::open::{check, interpret, not_one};
use foil::prelude::*;
use foil::registry::FilePath;
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{CModule, Device, IValue};

/// A loss written in PyTorch.
///
/// `forward(clean_logits, adv_logits, y)` takes logits `[N, K]` of the clean and of the attacked
/// images, both computed in train mode, clean ones first, and labels `[N]`, int64. It returns a
/// scalar, or `(total, parts)` with a `Dict[str, Tensor]` of named scalars for the log. In Python:
/// `torch.jit.save(torch.jit.script(Loss()), "loss.pt")`. Its own parameters are not trained.
#[settings]
pub struct TorchscriptLoss {
    /// The file, relative to the folder of this config; it is copied into the run's folder.
    pub file: FilePath,
    /// Its SHA-256 in 64 hexadecimal digits; a different file is refused. `resolved.yaml` of a run
    /// contains it.
    #[set(default)]
    pub sha256: Option<String>,
}

struct Scripted {
    module: CModule,
    /// Names of parts for the log, which need a static lifetime.
    names: RefCell<BTreeMap<String, &'static str>>,
}

/// A loss with more parts than this is assumed to invent new names at each step.
const MOST_PARTS: usize = 100;

impl Config<dyn Loss> for TorchscriptLoss {
    fn build(&self, cx: &Build) -> Result<Box<dyn Loss>> {
        let path = cx.file(&self.file);
        check(&path, self.sha256.as_deref())?;
        let module = CModule::load_on_device(&path, cx.device).map_err(|e| not_one(&path, Error::from(e).message()))?;
        let loss = Scripted { module, names: RefCell::default() };
        loss.trial(cx.data.classes, cx.device).map_err(|e| e.context(path.display()))?;
        Ok(Box::new(loss))
    }
}

impl Scripted {
    /// Runs it once, to report problems before training.
    fn trial(&self, classes: i64, device: Device) -> Result<()> {
        let logits = Tensor::arange(4 * classes, (Kind::Float, device)).sin().view([4, classes]);
        let y = Tensor::arange(4, (Kind::Int64, device)).remainder(classes.max(1));
        let leaf = logits.copy().set_requires_grad(true);
        let output = self.run(&leaf, &(&leaf * 0.5), &y)?;
        if output.total.requires_grad() {
            return Ok(());
        }
        Err(Error::new("its total has no gradient with respect to the logits")
            .help("compute it from them without `detach` or `no_grad`"))
    }

    fn run(&self, clean: &Tensor, adversarial: &Tensor, y: &Tensor) -> Result<LossOutput> {
        interpret()?;
        // Copies, because the epoch's metrics read the same tensors, and the program may write
        // into its inputs.
        let arguments = [clean, adversarial, y].map(|t| IValue::Tensor(t.copy()));
        let (total, parts) = match self.module.forward_is(&arguments)? {
            IValue::Tensor(total) => (total, Vec::new()),
            IValue::Tuple(mut pair) if pair.len() == 2 => match (pair.remove(0), pair.remove(0)) {
                (IValue::Tensor(total), IValue::GenericDict(parts)) => (total, parts),
                _ => return Err(shape_of_result()),
            },
            _ => return Err(shape_of_result()),
        };
        let mut output = LossOutput::new(scalar("total", &total)?);
        for part in parts {
            let (IValue::String(name), IValue::Tensor(value)) = part else { return Err(shape_of_result()) };
            output = output.part(self.name(&name)?, &scalar(&name, &value)?);
        }
        Ok(output)
    }

    /// A part's name with a static lifetime; there are few.
    fn name(&self, name: &str) -> Result<&'static str> {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.get(name) {
            return Ok(known);
        }
        if names.len() >= MOST_PARTS {
            return Err(Error::new(format!("it returns more than {MOST_PARTS} differently named parts")));
        }
        let kept: &'static str = Box::leak(name.to_string().into_boxed_str());
        names.insert(name.to_string(), kept);
        Ok(kept)
    }
}

fn shape_of_result() -> Error {
    Error::new("it returns neither a scalar nor (total, parts)")
        .help("return a tensor [], or Tuple[Tensor, Dict[str, Tensor]] with a dictionary of tensors []")
}

fn scalar(name: &str, value: &Tensor) -> Result<Tensor> {
    if !value.defined() {
        return Err(Error::new(format!("its `{name}` is a tensor that was never computed")));
    }
    if value.numel() == 1 && value.is_floating_point() {
        return Ok(value.reshape([] as [i64; 0]));
    }
    Err(Error::new(format!("its `{name}` is {:?} of {:?}, but must be a scalar", value.size(), value.kind()))
        .help("take the mean over the batch"))
}

impl Loss for Scripted {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }

    /// foil cannot know what the program does.
    fn capturable(&self) -> bool {
        false
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        self.run(input.clean()?, input.adversarial()?, input.y())
    }
}

register!(dyn Loss, "torchscript", TorchscriptLoss, "{ file: loss.pt }");
