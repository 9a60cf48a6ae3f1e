//! Gradients that are differentiated again: not the kernels', but libtorch's in their place.

use super::*;
use crate::nn::differentiable_gradient;

/// The gradient of batch norm and ReLU by the images, and that gradient's own by the weights.
fn twice(params: &Parameters, norm: &BatchNorm2d, images: &Tensor) -> crate::Result<Vec<Tensor>> {
    let pass = params.pass(Mode::Train, true, false, 0, None);
    let xs = images.detach().set_requires_grad(true);
    let out = norm.norm_relu(&pass, &xs).out;
    let gradient = differentiable_gradient(&(&out * &out * images).sum(Kind::Float), &xs)?;
    let gradient = gradient.unwrap();
    let again = params.gradients(&gradient.square().sum(Kind::Float))?;
    Ok(vec![gradient.detach(), again.0])
}

#[test]
fn in_plain_form_gradients_can_be_differentiated_again() {
    let nn = Builder::default();
    let norm = BatchNorm2d::new(&nn, "bn", 8);
    let params = nn.finish(Some(0), Kind::Float, Device::Cpu);
    let images = Noise::seeded(&[1], 3, Device::Cpu).normal("x", &[8, 4, 4], Kind::Float);
    let images = channels_last(&images).unwrap();
    let expected = twice(&params, &norm, &images).unwrap();
    assert!(expected[1].abs().min().double_value(&[]) > 0.0);
    ON_CPU.during(|| {
        let error = twice(&params, &norm, &images).unwrap_err();
        assert!(error.message().contains("there is no second derivative"), "{error}");
        params.forget_passes();
        assert!(in_plain_form(|| twice(&params, &norm, &images)).unwrap() == expected);
    });
}
