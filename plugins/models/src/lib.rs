//! The networks of the papers, with PyTorch's names and initialisations.

mod activation;
mod blocks;
mod dm;
mod imagenet_resnet;
mod lenet5_madry;
mod mask_cnn;
mod mask_resnet18;
mod mlp;
mod preact;
mod preact_resnet18;
mod resnet18;
mod shape;
mod small_cnn;
#[cfg(test)]
mod testing;
mod trades_cnn;
mod trunk;
mod wide_resnet;

pub use activation::Activation;
pub use dm::{DmPreactResnet18, DmWideResnet};
pub use imagenet_resnet::ImagenetResnet;
pub use lenet5_madry::Lenet5Madry;
pub use mask_cnn::MaskCnn;
pub use mask_resnet18::MaskResnet18;
pub use mlp::Mlp;
pub use preact_resnet18::PreactResnet18;
pub use resnet18::Resnet18;
pub use small_cnn::SmallCnn;
pub use trades_cnn::TradesCnn;
pub use wide_resnet::WideResnet;
