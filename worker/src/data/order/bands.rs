//! Bands: groups of neighbouring places of a global batch.

/// Division of the places of every global batch into bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bands {
    /// Number of places in a global batch.
    pub places: u64,
    /// Number of bands; if there are fewer places, some bands have none.
    pub count: u64,
}

impl Bands {
    /// Divides `places` places into `count` bands.
    pub fn new(places: u64, count: u64) -> Self {
        assert!(places > 0 && count > 0, "a global batch has a place");
        Bands { places, count }
    }

    /// Returns the band of sequence `number`.
    pub fn of(&self, number: u64) -> u64 {
        // The last band that starts at or before the place.
        ((number % self.places + 1) * self.count - 1) / self.places
    }

    /// Returns the first place of `band`, or, for the band after the last one, the number of places.
    pub fn start(&self, band: u64) -> u64 {
        band * self.places / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_even_neighbours_and_cover_every_place() {
        for (places, count) in [(512, 64), (10, 64), (1, 64), (100, 64), (64, 64), (7, 3)] {
            let bands = Bands::new(places, count);
            assert_eq!((bands.start(0), bands.start(count)), (0, places));
            for number in 0..3 * places {
                let band = bands.of(number);
                assert!((bands.start(band)..bands.start(band + 1)).contains(&(number % places)), "{number} {bands:?}");
            }
            for band in 0..count {
                let size = bands.start(band + 1) - bands.start(band);
                assert!((places / count..=places.div_ceil(count)).contains(&size));
            }
        }
    }
}
