//! Changes to bytes: what disks, copies and people who mean harm do to a file.

use fastrand::Rng;

/// Inputs do not grow beyond this.
const LARGEST: usize = 1 << 20;

/// Numbers at which arithmetic goes wrong.
const EXTREME: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// `seed` with one to six changes; `others` are what parts are taken from.
pub fn bytes(random: &mut Rng, seed: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..=6) {
        change(random, &mut bytes, others);
        bytes.truncate(LARGEST);
    }
    bytes
}

/// A part of `len` bytes, short ones more often.
pub fn part(random: &mut Rng, len: usize) -> std::ops::Range<usize> {
    let start = random.usize(0..=len);
    let longest = (len - start).min(1 << random.u32(0..12));
    start..start + random.usize(0..=longest)
}

fn change(random: &mut Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    if bytes.is_empty() {
        bytes.extend((0..random.usize(1..64)).map(|_| random.u8(..)));
    }
    // Headers are where the lengths are: half of the changes are there.
    let within = if random.bool() { bytes.len() } else { bytes.len().min(256) };
    let at = random.usize(0..within);
    match random.u8(0..12) {
        0..=2 => bytes[at] ^= 1 << random.u8(0..8),
        3 => bytes[at] = random.u8(..),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(part(random, bytes.len()))),
        6 => {
            let copied = bytes[part(random, bytes.len())].to_vec();
            bytes.splice(at..at, copied);
        }
        7 => {
            let unit = bytes[part(random, bytes.len())].to_vec();
            let times = (1 << random.u32(1..12)).min((1 << 17) / unit.len().max(1));
            bytes.splice(at..at, unit.repeat(times));
        }
        8 => {
            if let Some(other) = random.choice(others) {
                let taken = other[part(random, other.len())].to_vec();
                let end = (at + random.usize(0..=taken.len())).min(bytes.len());
                bytes.splice(at..end, taken);
            }
        }
        9 | 10 => number(random, bytes, at),
        _ => {
            let noise: Vec<u8> = (0..random.usize(1..32)).map(|_| random.u8(..)).collect();
            bytes.splice(at..at, noise);
        }
    }
}

/// Writes an extreme number, or one near the file's length, in 1, 2, 4 or 8 bytes of either order.
fn number(random: &mut Rng, bytes: &mut [u8], at: usize) {
    let near = (bytes.len() as u64).wrapping_add(random.u64(0..17)).wrapping_sub(8);
    let value = if random.u8(0..4) == 0 { near } else { EXTREME[random.usize(0..EXTREME.len())] };
    let width = 1 << random.usize(0..4);
    let all = if random.bool() { value.to_le_bytes() } else { value.to_be_bytes() };
    let digits = if random.bool() { &all[..width] } else { &all[8 - width..] };
    for (to, from) in bytes[at..].iter_mut().zip(digits) {
        *to = *from;
    }
}
