//! Puts what the workers found together in the order of the stream.

use std::collections::BTreeMap;
use std::ops::Range;

use super::content::ContentDigest;
use super::decode::Gaps;
use super::flaw::Flaw;
use super::inflate::{Contents, Unit};

/// The outcome of all batches so far.
#[derive(Default)]
pub(crate) struct Fold {
    next: u64,
    early: BTreeMap<u64, Contents>,
    digest: Option<ContentDigest>,
    gaps: Option<Gaps>,
    units: u64,
    populated: u64,
    short_last: bool,
    flaw: Option<Flaw>,
    spare: Vec<Vec<Unit>>,
}

/// What the grains of a stream without a flaw hold.
pub(crate) struct Whole {
    pub(crate) content_digest: Option<[u8; 32]>,
    /// Ranges of zeros that were not taken yet, where they are asked for.
    pub(crate) gaps: Option<Gaps>,
    pub(crate) units: u64,
    pub(crate) populated: u64,
    pub(crate) short_last: bool,
}

impl Fold {
    /// With `digest`, units have their digest and make the content digest; with `gaps`, the ranges of zeros between
    /// units are told.
    pub(crate) fn new(digest: bool, gaps: bool) -> Fold {
        Fold {
            digest: digest.then(ContentDigest::new),
            gaps: gaps.then(Gaps::default),
            ..Fold::default()
        }
    }

    /// An empty outcome to fill, which uses the memory of an earlier one.
    pub(crate) fn contents(&mut self) -> Contents {
        Contents {
            units: self.spare.pop().unwrap_or_default(),
            ..Contents::default()
        }
    }

    /// Adds the outcome of batch `number`.
    pub(crate) fn add(&mut self, number: u64, contents: Contents) {
        self.early.insert(number, contents);
        while let Some(mut contents) = self.early.remove(&self.next) {
            self.next += 1;
            for &(unit, unit_digest) in &contents.units {
                if let Some(digest) = &mut self.digest {
                    let new = digest.push(unit, unit_digest);
                    debug_assert!(new, "the walk let each grain pass once, and none too late");
                }
                if let Some(gaps) = &mut self.gaps {
                    gaps.unit(unit);
                }
            }
            self.units += contents.units.len() as u64;
            self.populated += contents.populated;
            self.short_last |= contents.short_last;
            contents.units.clear();
            self.spare.push(contents.units);
        }
    }

    /// Ranges of the disk that are all zero, each told once.
    pub(crate) fn take_gaps(&mut self) -> Vec<Range<u64>> {
        self.gaps.as_mut().map_or_else(Vec::new, Gaps::take)
    }

    /// Notes a flaw; the one nearest to the start of the stream counts.
    pub(crate) fn fail(&mut self, flaw: Flaw) {
        if self
            .flaw
            .as_ref()
            .is_none_or(|known| flaw.offset < known.offset)
        {
            self.flaw = Some(flaw);
        }
    }

    pub(crate) fn flaw(&self) -> Option<&Flaw> {
        self.flaw.as_ref()
    }

    /// The outcome of the whole stream.
    pub(crate) fn finish(self) -> Result<Whole, Flaw> {
        match self.flaw {
            Some(flaw) => Err(flaw),
            None => Ok(Whole {
                content_digest: self.digest.map(ContentDigest::finish),
                gaps: self.gaps,
                units: self.units,
                populated: self.populated,
                short_last: self.short_last,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::flaw::FlawKind;
    use super::*;

    #[test]
    fn the_flaw_nearest_to_the_start_counts_whichever_came_first() {
        for offsets in [[5, 7], [7, 5]] {
            let mut fold = Fold::default();
            for offset in offsets {
                fold.fail(Flaw::new(offset, FlawKind::BadDeflate, ""));
            }
            assert_eq!(fold.flaw().map(|flaw| flaw.offset), Some(5));
        }
    }

    #[test]
    fn outcomes_are_put_together_in_the_order_of_the_stream() {
        let digest = |order: [u64; 3]| {
            let mut fold = Fold::new(true, false);
            for number in order {
                let mut contents = fold.contents();
                contents.units.push((number, [number as u8; 32]));
                contents.populated = 10;
                fold.add(number, contents);
            }
            let whole = fold.finish().unwrap();
            (whole.content_digest, whole.units, whole.populated)
        };
        assert_eq!(digest([0, 1, 2]), digest([2, 0, 1]));
        assert!(digest([0, 1, 2]).0.is_some());
        assert_eq!(digest([0, 1, 2]).1, 3);
    }
}
