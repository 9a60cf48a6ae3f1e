//! CAT: Calibrated Adversarial Training.
//!
//! Huang, Menkovski, Pei, Pechenizkiy, "Calibrated Adversarial Training", ACML 2021. A second
//! network g learns a mask M that shrinks an attack's perturbation pixel by pixel, so that it fools
//! the model f without changing what the image shows; f is trained on the calibrated images.

mod attack;
mod loss;

pub use attack::Calibrated;
pub use loss::Cat;
