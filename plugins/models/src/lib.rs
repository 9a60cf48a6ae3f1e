//! The networks of the papers, with PyTorch's names and initialisations.

mod mask_cnn;
mod small_cnn;

pub use mask_cnn::MaskCnn;
pub use small_cnn::SmallCnn;
