//! template_data: bars on grey images, drawn by the program.
//!
//! Where it comes from: whose images they are and under which licence, or how they are made.

use foil::prelude::*;

/// Ten classes of 28 x 28 grey images: a bright bar, whose height says which class it is.
///
/// `foil explain` prints this page and the keys. Files have a key of type `DataPath`, and are found
/// with `cx.place`.
#[settings]
pub struct TemplateData {
    /// Training images of each class; a fifth as many test images come with them.
    #[set(default = 200, range = 5..=10_000)]
    pub per_class: usize,
}

impl Config<dyn DataSource> for TemplateData {
    fn build(&self, _: &Build) -> Result<Box<dyn DataSource>> {
        Ok(Box::new(self.clone()))
    }
}

impl DataSource for TemplateData {
    fn facts(&self) -> Result<Facts> {
        Ok(Facts {
            name: "template_data".into(),
            title: "Bars".into(),
            about: "a bright bar at one of ten heights".into(),
            class_names: (0..10).map(|class| format!("bar {class}")).collect(),
            image: [1, 28, 28],
            counts: Counts { train: 10 * self.per_class, test: 10 * (self.per_class / 5) },
            ..Facts::default()
        })
    }

    fn locate(&self) -> Result<Located> {
        Ok(Located { place: "drawn by the program".into(), files: Vec::new() })
    }

    fn read(&self, _: &Reading) -> Result<Dataset> {
        let (facts, origin) = (self.facts()?, self.locate()?.place);
        let Counts { train, test } = facts.counts;
        let (train, test) = (bars(0..train), bars(train..train + test));
        Ok(Dataset { facts, train, test, origin, published: true, sums: Vec::new(), notes: Vec::new() })
    }
}

/// Image `n` is of class `n % 10`; its bar starts at another column and is more or less bright.
fn bars(numbers: std::ops::Range<usize>) -> Images {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for n in numbers {
        let (top, left, bright) = (4 + n % 10 * 2, n * 7 % 12, 120 + n * 31 % 130);
        let is_bar = |at: usize| (top..top + 2).contains(&(at / 28)) && (left..left + 16).contains(&(at % 28));
        pixels.extend((0..784).map(|at| if is_bar(at) { bright as u8 } else { 20 }));
        labels.push((n % 10) as u16);
    }
    Images::new(pixels, labels, [1, 28, 28])
}

register!(dyn DataSource, "template_data", TemplateData, "{ per_class: 200 }");

#[cfg(test)]
mod tests {
    use super::*;
    // Image 13 is of class 3: rows 10 and 11, columns 7 to 22, brightness 120 + 403 % 130.
    #[test]
    fn the_bar_is_where_its_class_says() {
        let image = bars(13..14);
        let bright: Vec<usize> = (0..784).filter(|&at| image.image(0).unwrap()[at] == 133).collect();
        assert_eq!((bright.len(), bright[0], bright[31], image.labels[0]), (32, 287, 330, 3));
    }
}
