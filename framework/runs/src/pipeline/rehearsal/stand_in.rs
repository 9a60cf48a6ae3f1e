//! A small network in the model's place, which notes what is asked of it.

use foil::engine::Network;
use foil::model::Model;
use foil::nn::{BatchNorm2d, Builder, Conv2d, Linear, Mode, Pass, relu};
use foil::registry::DataFacts;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tch::{Device, Kind, Tensor};

/// What was asked of a stand-in.
#[derive(Debug, Default)]
pub(super) struct Asked {
    passes: AtomicU32,
    in_train: AtomicBool,
    in_eval: AtomicBool,
}

impl Asked {
    /// The number of forward passes.
    pub fn passes(&self) -> u32 {
        self.passes.load(Ordering::Relaxed)
    }

    /// The modes in which gradients of the images were taken.
    pub fn gradients(&self) -> Vec<Mode> {
        let asked = [(Mode::Train, &self.in_train), (Mode::Eval, &self.in_eval)];
        asked.into_iter().filter(|(_, flag)| flag.load(Ordering::Relaxed)).map(|(mode, _)| mode).collect()
    }
}

struct StandIn {
    conv: Conv2d,
    bn: BatchNorm2d,
    fc: Linear,
    asked: Arc<Asked>,
}

impl Model for StandIn {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.asked.passes.fetch_add(1, Ordering::Relaxed);
        if xs.requires_grad() {
            let flag = if pass.mode() == Mode::Train { &self.asked.in_train } else { &self.asked.in_eval };
            flag.store(true, Ordering::Relaxed);
        }
        let features = relu(self.bn.forward(pass, &self.conv.forward(pass, xs)));
        self.fc.forward(pass, &features.flatten(1, -1))
    }
}

/// A convolution with stride 2, batch norm, ReLU and a linear layer, with weights that follow from
/// a seed of its own.
pub(super) fn stand_in(data: &DataFacts) -> (Network, Arc<Asked>) {
    let (nn, asked) = (Builder::default(), Arc::new(Asked::default()));
    let half = |size: i64| (size - 1) / 2 + 1;
    let features = 4 * half(data.height) * half(data.width);
    let model = StandIn {
        conv: Conv2d::new(&nn, "conv", [data.channels, 4], 3, 2, 1),
        bn: BatchNorm2d::new(&nn, "bn", 4),
        fc: Linear::new(&nn, "fc", features, data.classes),
        asked: Arc::clone(&asked),
    };
    (Network::new(Box::new(model), nn, Some(1), Kind::Float, Device::Cpu), asked)
}
