//! Random numbers that are a function of (seed, epoch, image, name), on every device the same.
//!
//! A draw has a name (`"start"`) and one row per image; each number is a hash of the run's key, the
//! name, the image's index in the data set and the position in the row. There is no generator and
//! so no state: a resumed run, another batch order, another device or another number of processes
//! draws the same number for the same image. The hash is a fixed sequence of tensor operations, so
//! that it can be captured in a CUDA graph; the key is a device scalar.
//!
//! The mixer is the 32-bit finaliser `lowbias32` found by C. Wellons' hash prospector.

use super::kernels::noise;
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

const MASK: i64 = 0xffff_ffff;

/// One 32-bit mixing round, in place, on int64 numbers in `0..2^32`.
fn mix(h: Tensor) -> Tensor {
    let shift_xor = |h: Tensor, by: i64| {
        let shifted = h.bitwise_right_shift_tensor_scalar(by);
        h.bitwise_xor_tensor(&shifted)
    };
    let times = |h: Tensor, by: i64| (h * by).bitwise_and(MASK);
    let h = times(shift_xor(h, 16), 0x7feb_352d);
    let h = times(shift_xor(h, 15), 0x846c_a68b);
    shift_xor(h, 16)
}

/// The host's form of the same idea, 64 bits wide (splitmix64's finaliser): turns seeds, epochs and
/// names into keys.
pub fn key_of(parts: &[u64]) -> i64 {
    let mut h = 0x9e37_79b9_7f4a_7c15u64;
    for &part in parts {
        h = (h ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        h ^= h >> 31;
    }
    (h >> 1) as i64
}

/// A number for a name, stable between versions and machines (FNV-1a).
pub fn name_key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The random numbers of one batch.
#[derive(Debug)]
pub struct Noise {
    key: Tensor,
    index: Tensor,
    given: BTreeMap<String, Tensor>,
    drawn: RefCell<BTreeMap<String, Vec<i64>>>,
}

impl Noise {
    /// `key`: `[]` int64, [`key_of`] seed, epoch and purpose. `index`: `[N]` int64, the images'
    /// indices in the data set.
    pub fn new(key: &Tensor, index: &Tensor) -> Self {
        let (given, drawn) = (BTreeMap::new(), RefCell::default());
        Self { key: key.shallow_clone(), index: index.shallow_clone(), given, drawn }
    }

    /// A source for work outside a batch, such as initialising parameters: row `i` is keyed by `i`
    /// itself.
    pub fn seeded(parts: &[u64], rows: i64, device: Device) -> Self {
        let key = Tensor::from(key_of(parts)).to_device(device);
        Self::new(&key, &Tensor::arange(rows, (Kind::Int64, device)))
    }

    /// The random numbers of the images at `rows` `[n]` of the batch.
    #[must_use]
    pub fn rows(&self, rows: &Tensor) -> Self {
        let given = self.given.iter().map(|(name, given)| (name.clone(), given.index_select(0, rows))).collect();
        Self { given, ..Self::new(&self.key, &self.index.index_select(0, rows)) }
    }

    /// The same numbers.
    #[must_use]
    pub fn all(&self) -> Self {
        let given = self.given.iter().map(|(name, given)| (name.clone(), given.shallow_clone())).collect();
        Self { given, ..Self::new(&self.key, &self.index) }
    }

    /// Other numbers for the same images, those of `purpose`.
    #[must_use]
    pub fn other(&self, purpose: u64) -> Self {
        Self::new(&self.key.bitwise_xor(key_of(&[name_key("other"), purpose])), &self.index)
    }

    /// Numbers that the whole batch draws once: one row, keyed by the batch's first image, which is
    /// in no other batch of the epoch.
    #[must_use]
    pub fn of_batch(&self) -> Self {
        let given = self.given.iter().map(|(name, given)| (name.clone(), given.narrow(0, 0, 1))).collect();
        Self { given, ..Self::new(&self.key, &self.index.narrow(0, 0, 1)) }
    }

    /// Numbers that are keyed by `index` `[M]`, int64, in place of the images': for what is drawn
    /// once, alike on every rank.
    #[must_use]
    pub fn keyed_by(&self, index: &Tensor) -> Self {
        let given = self.given.iter().map(|(name, given)| (name.clone(), given.shallow_clone())).collect();
        Self { given, ..Self::new(&self.key, index) }
    }

    /// A random order of the batch's images, `[N]` int64. The images' own indices decide it, so it
    /// is the same wherever the batch is put together.
    pub fn order(&self, name: &str) -> Tensor {
        let n = self.index.numel() as i64;
        // Ties are broken by the place, so that no sort's stability matters.
        let keys = self.below(name, 1 << 31, &[1]).view(-1) * (1 << 31);
        (keys + Tensor::arange(n, (Kind::Int64, self.index.device()))).argsort(0, false)
    }

    /// Replaces what the draw called `name` returns; `foil probe` leaves nothing to chance this
    /// way.
    pub fn give(&mut self, name: &str, values: Tensor) {
        self.given.insert(name.to_string(), values);
    }

    /// What was given for `name`, if anything; it counts as drawn.
    pub fn given(&self, name: &str) -> Option<Tensor> {
        let given = self.given.get(name)?;
        self.drawn.borrow_mut().insert(name.to_string(), given.size());
        Some(given.shallow_clone())
    }

    /// The names and shapes of all draws made so far, those that were given included.
    pub fn drawn(&self) -> BTreeMap<String, Vec<i64>> {
        self.drawn.borrow().clone()
    }

    /// Notes a draw of `row` per image, and returns what was given in its place.
    fn draw(&self, name: &str, row: &[i64]) -> Option<Tensor> {
        let shape = self.index.size().into_iter().chain(row.iter().copied()).collect();
        self.drawn.borrow_mut().insert(name.to_string(), shape);
        self.given.get(name).map(Tensor::shallow_clone)
    }

    /// `[N, …row]` int64 hashes in `0..2^32`.
    fn bits(&self, name: &str, row: &[i64]) -> Tensor {
        let stream = name_key(name) as i64;
        let shape: Vec<i64> = std::iter::once(-1).chain(row.iter().copied()).collect();
        if let Some(bits) = noise(&self.key, &self.index, stream, row.iter().product(), Kind::Int64) {
            return bits.view(shape.as_slice());
        }
        let device = self.index.device();
        let key = self.key.bitwise_xor(stream);
        let (low, high) = (key.bitwise_and(MASK), key.bitwise_right_shift_tensor_scalar(32).bitwise_and(MASK));
        let rows = mix((&self.index + low).bitwise_and(MASK));
        let rows = mix(rows.bitwise_xor_tensor(&high));
        let width: i64 = row.iter().product();
        let columns = mix((Tensor::arange(width, (Kind::Int64, device)) * 0x9e37_79b9).bitwise_and(MASK));
        mix(rows.unsqueeze(1).bitwise_xor_tensor(&columns)).view(shape.as_slice())
    }

    /// The numbers behind [`Noise::uniform`] and [`Noise::normal`], which note their draws
    /// themselves.
    fn unit(&self, name: &str, row: &[i64], kind: Kind) -> Tensor {
        let shape: Vec<i64> = std::iter::once(-1).chain(row.iter().copied()).collect();
        if let Some(unit) = noise(&self.key, &self.index, name_key(name) as i64, row.iter().product(), kind) {
            return unit.view(shape.as_slice());
        }
        self.bits(name, row).bitwise_right_shift_tensor_scalar(8).to_kind(kind) / 16_777_216.0
    }

    /// `[N, …row]` numbers uniform in `[0, 1)`, multiples of 2^-24.
    pub fn uniform(&self, name: &str, row: &[i64], kind: Kind) -> Tensor {
        self.draw(name, row).unwrap_or_else(|| self.unit(name, row, kind))
    }

    /// `[N, …row]` numbers from the standard normal distribution (Box and Muller 1958).
    pub fn normal(&self, name: &str, row: &[i64], kind: Kind) -> Tensor {
        self.draw(name, row).unwrap_or_else(|| {
            let radius: Tensor = 1.0 - self.unit(&format!("{name}.radius"), row, kind);
            let angle = self.unit(&format!("{name}.angle"), row, kind) * std::f64::consts::TAU;
            (radius.log() * -2.0).sqrt() * angle.cos()
        })
    }

    /// A number for a generator with a state, from the run's key, the name and the batch's images.
    /// It reads the device.
    pub fn seed(&self, name: &str) -> i64 {
        let places = Tensor::arange(self.index.numel() as i64, (Kind::Int64, self.index.device())) + 1;
        let images = (places * &self.index).sum(Kind::Int64);
        key_of(&[self.key.int64_value(&[]) as u64, name_key(name), images.int64_value(&[]) as u64])
    }

    /// `[N, …row]` integers uniform in `0..below`.
    pub fn below(&self, name: &str, below: i64, row: &[i64]) -> Tensor {
        // 2^32 is so far above any `below` used here that the bias of the multiplication is under
        // one in a million.
        self.draw(name, row).unwrap_or_else(|| (self.bits(name, row) * below).bitwise_right_shift_tensor_scalar(32))
    }
}

/// A permutation of `0..n` as `[n]` int64, on every device the same.
pub fn permutation(parts: &[u64], n: i64, device: Device) -> Tensor {
    let noise = Noise::seeded(parts, n, device);
    // Ties of the 32-bit hash are broken by the index, so that no sort's stability matters.
    let keys = noise.bits("permutation", &[1]).view(-1) * (1 << 31) + Tensor::arange(n, (Kind::Int64, device));
    keys.argsort(0, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: i64) -> Noise {
        Noise::seeded(&[1, 2], rows, Device::Cpu)
    }

    #[test]
    fn uniform_numbers_fill_the_interval_evenly() {
        let u = noise(200).uniform("start", &[3, 32, 32], Kind::Float);
        assert!(u.min().double_value(&[]) >= 0.0 && u.max().double_value(&[]) < 1.0);
        let n = u.numel() as f64;
        let counts = Vec::<f64>::try_from(
            (u.view(-1) * 16.0).floor().to_kind(Kind::Int64).bincount::<Tensor>(None, 16).to_kind(Kind::Double),
        )
        .unwrap();
        // Chi-squared with 15 degrees of freedom exceeds 50 with probability 1e-5.
        let chi2: f64 = counts.iter().map(|c| (c - n / 16.0).powi(2) / (n / 16.0)).sum();
        assert!(chi2 < 50.0, "{counts:?}");
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let z = noise(100).normal("start", &[784], Kind::Double);
        let n = z.numel() as f64;
        assert!(z.mean(Kind::Double).double_value(&[]).abs() < 5.0 / n.sqrt());
        assert!((z.var(true).double_value(&[]) - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
    }

    #[test]
    fn rows_and_neighbours_are_uncorrelated() {
        let u = noise(128).uniform("start", &[3072], Kind::Double) - 0.5;
        let rows = (u.narrow(0, 0, 127) * u.narrow(0, 1, 127)).mean(Kind::Double).double_value(&[]) * 12.0;
        let columns = (u.narrow(1, 0, 3071) * u.narrow(1, 1, 3071)).mean(Kind::Double).double_value(&[]) * 12.0;
        let bound = 5.0 / (128.0 * 3072.0f64).sqrt();
        assert!(rows.abs() < bound && columns.abs() < bound, "{rows} {columns} {bound}");
    }

    #[test]
    fn an_image_draws_the_same_wherever_it_sits_in_a_batch() {
        let key = Tensor::from(key_of(&[7, 3]));
        let a = Noise::new(&key, &Tensor::from_slice(&[5i64, 9, 2])).uniform("start", &[4], Kind::Float);
        let b = Noise::new(&key, &Tensor::from_slice(&[2i64, 5])).uniform("start", &[4], Kind::Float);
        assert_eq!(a.get(0), b.get(1));
        assert_eq!(a.get(2), b.get(0));
        let part = Noise::new(&key, &Tensor::from_slice(&[5i64, 9, 2])).rows(&Tensor::from_slice(&[2i64, 0]));
        assert_eq!(part.uniform("start", &[4], Kind::Float), b);
        let other = Noise::new(&key, &Tensor::from_slice(&[5i64])).uniform("restart", &[4], Kind::Float);
        assert_ne!(a.get(0), other.get(0));
    }

    #[test]
    fn a_batch_draws_by_its_first_image_and_orders_by_all() {
        let key = Tensor::from(key_of(&[7, 3]));
        let batch = |index: &[i64]| Noise::new(&key, &Tensor::from_slice(index));
        let one = |noise: Noise| noise.of_batch().uniform("share", &[1], Kind::Float);
        assert_eq!(one(batch(&[5, 9, 2])), one(batch(&[5, 1])));
        assert_ne!(one(batch(&[5, 9, 2])), one(batch(&[9, 5, 2])));
        let order = noise(1000).order("other");
        assert_eq!(order.sort(0, false).0, Tensor::arange(1000, (Kind::Int64, Device::Cpu)));
        // The same images in another order are put into the same one.
        let index = Tensor::arange(1000, (Kind::Int64, Device::Cpu));
        let turned = index.flip([0]);
        let other = Noise { index: turned.shallow_clone(), ..noise(1000) }.order("other");
        assert_eq!(turned.index_select(0, &other), order);
        let (first, again) = (noise(4).uniform("x", &[2], Kind::Float), noise(4).all().uniform("x", &[2], Kind::Float));
        assert_eq!(first, again);
        assert_ne!(first, noise(4).other(1).uniform("x", &[2], Kind::Float));
    }

    #[test]
    fn draws_are_noted_whether_given_or_not() {
        let mut noise = noise(2);
        noise.give("start", Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)));
        noise.give("never", Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)));
        let _ = (noise.given("start"), noise.given("other"), noise.normal("direction", &[4], Kind::Float));
        let expected = [("direction".to_string(), vec![2, 4]), ("start".to_string(), vec![2, 3])];
        assert_eq!(noise.drawn(), BTreeMap::from(expected));
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let p = permutation(&[1], 10_000, Device::Cpu);
        let (sorted, _) = p.sort(0, false);
        assert_eq!(sorted, Tensor::arange(10_000, (Kind::Int64, Device::Cpu)));
        assert_ne!(p, permutation(&[2], 10_000, Device::Cpu));
    }
}
