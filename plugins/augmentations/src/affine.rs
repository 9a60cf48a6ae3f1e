//! Rotating, shearing and moving: PIL's `Image.transform` with `AFFINE`.
//!
//! Images are bytes `[N, C, H, W]`; `matrix` `[N, 6]`, double, takes a pixel of the result to where
//! it comes from: x' = a x + b y + c, y' = d x + e y + f, in coordinates whose whole numbers are
//! the pixels' corners. What comes from outside of the image is `fill`.

use foil::prelude::*;

/// Where each pixel comes from, `[N, H, W]`: twice, x and y.
fn sources(matrix: &Tensor, height: i64, width: i64) -> [Tensor; 2] {
    let along = |length: i64| Tensor::arange(length, (Kind::Double, matrix.device())) + 0.5;
    let (x, y) = (along(width).view([1, 1, -1]), along(height).view([1, -1, 1]));
    let entry = |at: i64| matrix.narrow(1, at, 1).view([-1, 1, 1]);
    [0, 3].map(|row| entry(row) * &x + entry(row + 1) * &y + entry(row + 2))
}

fn picked(images: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
    let size = images.size();
    let place: Tensor = y * size[3] + x;
    let place = place.view([size[0], 1, -1]).expand([size[0], size[1], size[2] * size[3]], false);
    images.contiguous().view([size[0], size[1], -1]).gather(2, &place, false).view(size.as_slice())
}

fn inside([x, y]: [&Tensor; 2], height: i64, width: i64) -> Tensor {
    let within = |at: &Tensor, length: i64| at.ge(0.0).logical_and(&at.lt(length as f64));
    within(x, width).logical_and(&within(y, height)).unsqueeze(1)
}

/// The pixel that each comes from. As PIL does, coordinates are rounded to multiples of 2^-16
/// before they are added up.
pub fn nearest(images: &Tensor, matrix: &Tensor, fill: i64) -> Tensor {
    let size = images.size();
    let (height, width) = (size[2], size[3]);
    let fixed = |value: Tensor| -> Tensor {
        let scaled: Tensor = value * 65536.0 + 0.5;
        scaled.floor()
    };
    let entry = |at: i64| matrix.narrow(1, at, 1);
    let along = |length: i64| Tensor::arange(length, (Kind::Double, matrix.device()));
    let (columns, rows) = (along(width).view([1, 1, -1]), along(height).view([1, -1, 1]));
    let source = |row: i64| {
        let start = fixed(entry(row + 2) + entry(row) * 0.5 + entry(row + 1) * 0.5).view([-1, 1, 1]);
        let step = |at: i64| fixed(entry(at)).view([-1, 1, 1]);
        let sum: Tensor = (start + step(row) * &columns + step(row + 1) * &rows) / 65536.0;
        sum.floor()
    };
    let (x, y) = (source(0), source(3));
    let inside = inside([&x, &y], height, width);
    let [x, y] = [(x, width), (y, height)].map(|(at, length)| at.clamp(0.0, length as f64 - 1.0).to_kind(Kind::Int64));
    picked(images, &x, &y).where_self(&inside, &images.full_like(fill))
}

/// Cubic interpolation between the sixteen pixels around where each comes from (PIL's `BICUBIC`,
/// which in a transform has a = -1).
pub fn cubic(images: &Tensor, matrix: &Tensor, fill: i64) -> Tensor {
    let size = images.size();
    let (height, width) = (size[2], size[3]);
    let [x, y] = sources(matrix, height, width);
    let inside = inside([&x, &y], height, width);
    let (x, y): (Tensor, Tensor) = (x - 0.5, y - 0.5);
    let (left, top) = (x.floor(), y.floor());
    let (dx, dy): (Tensor, Tensor) = ((x - &left).unsqueeze(1), (y - &top).unsqueeze(1));
    let at = |from: &Tensor, by: i64, length: i64| {
        let place: Tensor = from + by as f64;
        place.clamp(0.0, length as f64 - 1.0).to_kind(Kind::Int64)
    };
    let rows: Vec<Tensor> = (-1..3)
        .map(|by| {
            let y = at(&top, by, height);
            let row: Vec<Tensor> =
                (-1..3).map(|by| picked(images, &at(&left, by, width), &y).to_kind(Kind::Double)).collect();
            curve(&row, &dx)
        })
        .collect();
    let found = curve(&rows, &dy).clamp(0.0, 255.0).floor().to_kind(Kind::Uint8);
    found.where_self(&inside, &images.full_like(fill))
}

/// The cubic through four values, at `d` between the second and the third.
fn curve(values: &[Tensor], d: &Tensor) -> Tensor {
    let [a, b, c, e] = values else { return Tensor::new() };
    let p2: Tensor = c - a;
    let p3: Tensor = (a - b) * 2.0 + c - e;
    let p4: Tensor = b - a - c + e;
    b + d * (p2 + d * (p3 + d * p4))
}

/// The matrix of a rotation by `degrees` `[N, 1]` against the clock, about the middle: PIL's
/// `Image.rotate`.
pub fn rotation(degrees: &Tensor, height: i64, width: i64) -> Tensor {
    let angle: Tensor = degrees.to_kind(Kind::Double) * (-std::f64::consts::PI / 180.0);
    let (cos, sin) = (angle.cos(), angle.sin());
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    let c: Tensor = &cos * -x + &sin * -y + x;
    let f: Tensor = &sin * x + &cos * -y + y;
    Tensor::cat(&[&cos, &sin, &c, &sin.neg(), &cos, &f], 1)
}

/// The matrix that leaves everything where it is but for `amount` `[N, 1]` in place `at` of six.
pub fn but_for(at: usize, amount: &Tensor) -> Tensor {
    let amount = amount.to_kind(Kind::Double);
    let (one, none) = (amount.ones_like(), amount.zeros_like());
    let mut entries = [&one, &none, &none, &none, &one, &none];
    entries[at] = &amount;
    Tensor::cat(&entries, 1)
}
