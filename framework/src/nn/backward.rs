//! Backward passes with an error where libtorch ends the process.
//!
//! libtorch follows a null pointer when the value has no graph, and hands out a tensor without
//! memory for an input that the value does not depend on. Either is what a plugin with `detach`,
//! `no_grad`, `argmax` or a cast to integers leads to.

use crate::{Error, Result};
use tch::Tensor;

/// What to do about a gradient that is not there.
pub const KEEP_THE_GRAPH: &str =
    "compute it from them in floating point, without `detach`, `no_grad`, `argmax` or a cast to integers";

/// d`value`/d(each of `inputs`), in their order; `None` for an input that `value`, a scalar of
/// floating point, does not depend on. The graph is freed.
///
/// # Errors
/// When `value` is not a scalar of floating point or depends on no tensor that requires a gradient;
/// and libtorch's own.
pub fn backward(value: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    check(value)?;
    if inputs.is_empty() {
        return Ok(Vec::new()); // libtorch would add to the `grad` of every leaf
    }
    let found = Tensor::f_run_backward(&[value], inputs, false, false)?;
    Ok(found.into_iter().map(|gradient| gradient.defined().then_some(gradient)).collect())
}

/// d`value`/d`input` as [`backward`] has it, itself differentiable; the graph stays.
///
/// # Errors
/// As [`backward`]; and when an operation has no second derivative, which some report only when it
/// is taken.
pub fn differentiable_gradient(value: &Tensor, input: &Tensor) -> Result<Option<Tensor>> {
    check(value)?;
    let gradient = Tensor::f_run_backward(&[value], &[input], true, true)?.remove(0);
    Ok(gradient.defined().then_some(gradient))
}

/// Whether it is a scalar of floating point with a graph.
fn check(value: &Tensor) -> Result<()> {
    if !value.defined() {
        return Err(Error::new("there is no value to differentiate: its tensor was never computed"));
    }
    if value.numel() != 1 || !value.is_floating_point() {
        let (shape, kind) = (value.size(), value.kind());
        return Err(Error::new(format!("what is to be differentiated is {shape:?} of {kind:?}, but must be a scalar"))
            .help("take the mean over the batch, in floating point"));
    }
    if !value.requires_grad() {
        return Err(Error::new("there is no gradient: the value does not depend on anything differentiable")
            .help(KEEP_THE_GRAPH));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn leaf() -> Tensor {
        Tensor::from_slice(&[1.0, 2.0]).set_requires_grad(true)
    }

    #[test]
    fn an_input_without_part_in_the_value_has_none() {
        let [x, y] = [leaf(), leaf()];
        let found = backward(&x.square().sum(Kind::Double), &[&x, &y]).unwrap();
        assert_eq!(Vec::<f64>::try_from(found[0].as_ref().unwrap()).unwrap(), [2.0, 4.0]);
        assert!(found[1].is_none());
        // With nothing asked for, no leaf's own `grad` is written.
        assert!(backward(&x.sum(Kind::Double), &[]).unwrap().is_empty() && !x.grad().defined());
    }

    // By hand: d(sum x³)/dx = 3 x², and the sum of that has the gradient 6 x.
    #[test]
    fn a_gradient_can_be_differentiated_again() {
        let [x, y] = [leaf(), leaf()];
        let value = (&x * &x * &x).sum(Kind::Double);
        let gradient = differentiable_gradient(&value, &x).unwrap().unwrap();
        assert_eq!(Vec::<f64>::try_from(&gradient.detach()).unwrap(), [3.0, 12.0]);
        let again = backward(&gradient.sum(Kind::Double), &[&x]).unwrap();
        assert_eq!(Vec::<f64>::try_from(again[0].as_ref().unwrap()).unwrap(), [6.0, 12.0]);
        assert!(differentiable_gradient(&value, &y).unwrap().is_none());
        assert!(differentiable_gradient(&x, &x).is_err());
    }

    #[test]
    fn values_that_libtorch_would_follow_nowhere() {
        let x = leaf();
        let values = [
            (Tensor::new(), "was never computed"),
            (x.detach().sum(Kind::Double), "does not depend on anything differentiable"),
            (tch::no_grad(|| x.sum(Kind::Double)), "does not depend on anything differentiable"),
            (x.argmax(0, false), "is [] of Int64, but must be a scalar"),
            (&x * 2.0, "is [2] of Double, but must be a scalar"),
        ];
        for (value, part) in values {
            let error = backward(&value, &[&x]).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
    }
}
