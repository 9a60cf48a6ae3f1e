//! Batch norm over the images of all ranks, from the C++ shim in
//! `framework/shim/sync_batch_norm.cpp`.

#![allow(unsafe_code)]

use super::world::{Joined, World};
use crate::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use tch::Tensor;

/// What tch calls `C_tensor`: an `at::Tensor`.
type At = c_void;
/// Null, or a message for the C library's `free`.
type Message = *mut c_char;
type Sum = extern "C" fn(*const c_void, *const At) -> Message;

unsafe extern "C" {
    fn foil_sync_batch_norm(
        out: *mut *mut At,
        x: *const At,
        weight: *const At,
        bias: *const At,
        mean: *const At,
        var: *const At,
        momentum: f64,
        eps: f64,
        selected: *const At,
        ranks: *const c_void,
        sum: Sum,
        counts: bool,
    ) -> Message;
}

/// The sum over the ranks, for the shim: `ranks` is a [`Joined`].
extern "C" fn sum(ranks: *const c_void, tensor: *const At) -> Message {
    let work = || {
        // SAFETY: The shim hands back what it was given, which is never freed, and a tensor that
        // lives through this call.
        let (joined, tensor) = unsafe { (&*ranks.cast::<Joined>(), Tensor::clone_from_ptr(tensor.cast_mut().cast())) };
        World::of(joined).sum(&tensor)
    };
    // No panic may cross into C++.
    let said = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return null_mut(),
        Ok(Err(error)) => error.message().to_string(),
        Err(_) => "a sum over the ranks panicked".to_string(),
    };
    let text = CString::new(said.replace('\0', " ")).unwrap_or_default();
    // SAFETY: `strdup` copies the string, which lives through the call; the shim frees the copy.
    unsafe { libc::strdup(text.as_ptr()) }
}

/// `xs` `[N, C, H, W]` normalised with the statistics of all ranks' images, or of those that each
/// rank has `selected` (`[N]` booleans), differentiable across them; the running statistics `mean`
/// and `var` `[C]` are moved, to the same bits on every rank. Where nothing is selected on any, the
/// running statistics are used and do not change.
///
/// # Errors
/// When a rank is lost, or the shapes do not belong together.
pub(crate) fn sync_batch_norm(
    world: World,
    xs: &Tensor,
    [weight, bias]: [&Tensor; 2],
    [mean, var]: [&Tensor; 2],
    [momentum, eps]: [f64; 2],
    selected: Option<&Tensor>,
) -> Result<Tensor> {
    let at = |tensor: &Tensor| tensor.as_ptr().cast::<At>();
    let mut out = null_mut();
    let joined = world.joined().ok_or_else(|| Error::new("a single process has no rank to send to"))?;
    let (ranks, counts) = (std::ptr::from_ref(joined).cast(), world.counts());
    // SAFETY: The borrows of all tensors outlast the call; `joined` is never freed, and so outlives
    // every backward pass.
    let message = unsafe {
        foil_sync_batch_norm(
            &raw mut out,
            at(xs),
            at(weight),
            at(bias),
            at(mean),
            at(var),
            momentum,
            eps,
            selected.map_or(std::ptr::null(), at),
            ranks,
            sum,
            counts,
        )
    };
    if !message.is_null() {
        // SAFETY: The shim's messages are C strings from `strdup`; this one is read once, then
        // freed, and not used again.
        let text = unsafe {
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            libc::free(message.cast());
            text
        };
        return Err(Error::torch(&text));
    }
    // SAFETY: Without a message the shim has written a pointer to a new at::Tensor that belongs to
    // us; tch frees it.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

#[cfg(test)]
mod tests {
    use super::super::share::share;
    use super::super::threads::ranks;
    use super::*;
    use crate::testing::assert_close;
    use tch::{Device, Kind};

    const IMAGES: i64 = 5;

    fn rand(size: &[i64], seed: i64) -> Tensor {
        let noise = crate::nn::Noise::seeded(&[seed as u64], size[0], Device::Cpu);
        noise.normal("x", &size[1..], Kind::Double)
    }

    /// A batch norm of images with weight and bias, and running mean and variance.
    type Norm<'a> = &'a dyn Fn(&Tensor, [&Tensor; 2], [&Tensor; 2]) -> Tensor;

    /// Output, d/dx, d/d(weight), d/d(bias), running mean and variance of a batch norm whose output
    /// is summed with weights `to`.
    fn run(norm: Norm, x: &Tensor, to: &Tensor) -> Vec<Tensor> {
        let x = x.copy().set_requires_grad(true);
        let weight = rand(&[3, 1], 2).view(-1).set_requires_grad(true);
        let bias = rand(&[3, 1], 3).view(-1).set_requires_grad(true);
        let (mean, var) = (rand(&[3, 1], 4).view(-1), rand(&[3, 1], 5).view(-1).exp());
        let y = norm(&x, [&weight, &bias], [&mean, &var]);
        let value = (&y * to).sum(Kind::Double);
        let mut found = vec![y.detach()];
        found.extend(Tensor::run_backward(&[value], &[&x, &weight, &bias], false, false));
        found.extend([mean, var]);
        found
    }

    // Oracle: libtorch's batch norm on the whole batch.
    #[test]
    fn ranks_together_are_one_batch_norm() {
        // Far from 0, where a sum of squares loses its digits.
        let batch = || (rand(&[IMAGES, 3, 4, 2], 1) + 100.0, rand(&[IMAGES, 3, 4, 2], 6));
        let (x, to) = batch();
        let whole =
            run(&|x, [w, b], [m, v]| x.batch_norm(Some(w), Some(b), Some(m), Some(v), true, 0.1, 1e-5, false), &x, &to);
        // Eight ranks: three of them have no image.
        for size in [1, 2, 3, 8] {
            let found = ranks(size, IMAGES, |world| {
                let (x, to) = batch();
                let (start, count) = share(IMAGES, world.rank(), size).rows();
                let to = to.narrow(0, start, count) * f64::from(u8::from(world.counts()));
                let norm = |x: &Tensor, affine: [&Tensor; 2], running: [&Tensor; 2]| {
                    sync_batch_norm(world, x, affine, running, [0.1, 1e-5], None).unwrap()
                };
                run(&norm, &x.narrow(0, start, count), &to)
            });
            let real = &found[..size.min(IMAGES as usize)];
            let rows = |i: usize| Tensor::cat(&real.iter().map(|rank| &rank[i]).collect::<Vec<_>>(), 0);
            let sum = |i: usize| found.iter().map(|rank| rank[i].copy()).reduce(|a, b| a + b).unwrap();
            assert_close(&rows(0), &whole[0], 1e-10);
            assert_close(&rows(1), &whole[1], 1e-10);
            assert_close(&sum(2), &whole[2], 1e-10);
            assert_close(&sum(3), &whole[3], 1e-10);
            for rank in &found {
                assert_close(&rank[4], &whole[4], 1e-10);
                assert_close(&rank[5], &whole[5], 1e-10);
                assert_eq!((&rank[4], &rank[5]), (&found[0][4], &found[0][5]));
            }
        }
    }

    // Oracle: libtorch's batch norm of the selected images alone, whose statistics normalise the
    // others by plain operations.
    #[test]
    fn selected_images_of_all_ranks_are_one_batch_norm() {
        const SELECTED: [[bool; IMAGES as usize]; 3] =
            [[true, false, true, true, false], [false, false, false, true, false], [false; IMAGES as usize]];
        let batch = || (rand(&[IMAGES, 3, 4, 2], 1) + 100.0, rand(&[IMAGES, 3, 4, 2], 6));
        for flags in SELECTED {
            let selected = || Tensor::from_slice(&flags);
            let alone = |x: &Tensor, [weight, bias]: [&Tensor; 2], [mean, var]: [&Tensor; 2]| {
                let channel = |values: &Tensor| values.view([1, -1, 1, 1]);
                let rows = x.index_select(0, &selected().nonzero().view(-1));
                let (centre, spread) = if rows.size()[0] == 0 {
                    (mean.copy(), var.copy())
                } else {
                    let _ = rows.batch_norm::<&Tensor>(None, None, Some(mean), Some(var), true, 0.1, 1e-5, false);
                    let dims = [0i64, 2, 3];
                    (rows.mean_dim(dims.as_slice(), false, Kind::Double), rows.var_dim(dims.as_slice(), false, false))
                };
                (x - channel(&centre)) / channel(&(spread + 1e-5).sqrt()) * channel(weight) + channel(bias)
            };
            let (x, to) = batch();
            let whole = run(&alone, &x, &to);
            for size in [1, 2, 3, 8] {
                let found = ranks(size, IMAGES, |world| {
                    let (x, to) = batch();
                    let (start, count) = share(IMAGES, world.rank(), size).rows();
                    let to = to.narrow(0, start, count) * f64::from(u8::from(world.counts()));
                    let mine = selected().narrow(0, start, count);
                    let norm = |x: &Tensor, affine: [&Tensor; 2], running: [&Tensor; 2]| {
                        sync_batch_norm(world, x, affine, running, [0.1, 1e-5], Some(&mine)).unwrap()
                    };
                    run(&norm, &x.narrow(0, start, count), &to)
                });
                let real = &found[..size.min(IMAGES as usize)];
                let rows = |i: usize| Tensor::cat(&real.iter().map(|rank| &rank[i]).collect::<Vec<_>>(), 0);
                for i in [0, 1] {
                    assert_close(&rows(i), &whole[i], 1e-9);
                }
                for rank in &found {
                    assert_close(&rank[4], &whole[4], 1e-10);
                    assert_close(&rank[5], &whole[5], 1e-10);
                }
            }
        }
    }
}
