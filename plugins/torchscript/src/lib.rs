//! Models and losses written in PyTorch, used without porting: TorchScript files, as
//! `torch.jit.save` writes them.
//!
//! `docs/pytorch.md` shows how one is made; `docs/decisions/0009-torchscript.md` says how its
//! tensors and foil's are kept in step.

mod loss;
mod model;
mod open;
mod program;
