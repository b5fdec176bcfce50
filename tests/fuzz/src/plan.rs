//! Streams that are nearly right: a good one of any shape, changed in a few places that mean something.

use arbitrary::Arbitrary;
use vmdk_backup::vmdk::{CheckOptions, Level, Limits};

use crate::disk::Disk;
use crate::writer::{SECTOR, Stream, TABLE_SPAN, Writer, zlib};

/// A stream, and how it is fed.
#[derive(Arbitrary, Debug)]
pub struct Plan {
    shape: Shape,
    changes: Vec<Change>,
    feed: Feed,
}

#[derive(Arbitrary, Debug)]
struct Shape {
    sectors: u32,
    units: [u16; 3],
    zero: Option<u16>,
    grain: u8,
    front: u8,
    overhead: u8,
    version: u8,
    stored: bool,
    zero_grains: bool,
    short_last: bool,
    progress: bool,
    empty_tables: bool,
    backwards: bool,
    missing_eos: bool,
}

#[derive(Arbitrary, Debug)]
enum Change {
    Header {
        field: u8,
        value: Value,
    },
    Footer {
        field: u8,
        value: Value,
    },
    Grain {
        grain: u8,
        value: Value,
        size: bool,
    },
    Marker {
        marker: u8,
        field: u8,
        value: Value,
    },
    Table {
        table: u8,
        entry: u16,
        value: Value,
    },
    Directory {
        entry: u16,
        value: Value,
    },
    Payload {
        grain: u8,
        at: u16,
        change: u8,
    },
    Zlib {
        grain: u8,
        length: u32,
        cut: u8,
        fill: u8,
    },
    Descriptor {
        at: u16,
        text: Vec<u8>,
    },
    Remove {
        from: u16,
        sectors: u8,
    },
    Repeat {
        from: u16,
        sectors: u8,
        to: u16,
    },
    Wipe {
        from: u16,
        sectors: u8,
    },
    Append {
        zeros: u16,
        then: Vec<u8>,
    },
    Cut {
        at: u32,
    },
    Flip {
        bit: u32,
    },
}

#[derive(Arbitrary, Debug)]
enum Value {
    Any(u64),
    Small(u8),
    Power(u8),
    Near(i8),
}

impl Value {
    fn from(&self, old: u64) -> u64 {
        match self {
            Value::Any(value) => *value,
            Value::Small(value) => u64::from(*value),
            Value::Power(bits) => 1u64.checked_shl(u32::from(*bits)).unwrap_or(u64::MAX),
            Value::Near(by) => old.wrapping_add_signed(i64::from(*by)),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Feed {
    cuts: Vec<u16>,
    level: u8,
    threads: u8,
    in_flight: Option<u16>,
    max_stream: Option<u32>,
    accept_missing_eos: bool,
}

/// Places of the header's fields, and their lengths.
const FIELDS: [(usize, usize); 13] = [
    (0, 4),
    (4, 4),
    (8, 4),
    (12, 8),
    (20, 8),
    (28, 8),
    (36, 8),
    (44, 4),
    (48, 8),
    (56, 8),
    (64, 8),
    (73, 4),
    (77, 2),
];

/// The fields of a marker.
const MARKER: [(usize, usize); 4] = [(0, 8), (8, 4), (12, 4), (16, 8)];

impl Shape {
    fn disk(&self) -> Disk {
        let sectors = 1 + u64::from(self.sectors) % (2 * TABLE_SPAN + 300);
        let units = self
            .units
            .map(|unit| u64::from(unit) % sectors.div_ceil(128));
        Disk::new(sectors, &units)
    }

    fn writer(&self, disk: &Disk) -> Writer {
        let grain_sectors = [128, 128, 8, 16, 64, 256, 2048][usize::from(self.grain) % 7];
        let front = [None, Some(1), Some(2)][usize::from(self.front) % 3];
        let backwards = || {
            let mut grains: Vec<u64> = disk
                .units
                .keys()
                .map(|unit| unit * 128 / grain_sectors)
                .collect();
            grains.dedup();
            grains.reverse();
            grains
        };
        Writer {
            version: 1 + u32::from(self.version) % 3,
            flags: 0x30001 | if self.zero_grains { 4 } else { 0 },
            grain_sectors,
            front,
            overhead: u64::from(self.overhead % 16),
            // Smaller grains come in order within their unit.
            order: (self.backwards && front.is_some() && grain_sectors >= 128).then(backwards),
            zeros: self
                .zero
                .map(|zero| u64::from(zero) % disk.sectors.div_ceil(grain_sectors))
                .into_iter()
                .collect(),
            short_last: self.short_last,
            progress: self.progress,
            empty_tables: self.empty_tables,
            eos: !self.missing_eos,
            level: if self.stored { 0 } else { 1 },
            ..Writer::default()
        }
    }
}

impl Plan {
    /// How the stream is checked.
    pub fn options(&self) -> CheckOptions {
        let default = CheckOptions::default();
        CheckOptions {
            level: [Level::Full, Level::Structure, Level::Full, Level::Digest]
                [usize::from(self.feed.level % 4)],
            threads: 1 + usize::from(self.feed.threads % 3),
            in_flight: self.feed.in_flight.map_or(default.in_flight, usize::from),
            limits: Limits {
                max_stream: self
                    .feed
                    .max_stream
                    .map_or(default.limits.max_stream, |most| {
                        u64::from(most) % (1 << 18)
                    }),
                ..default.limits
            },
            accept_missing_eos: self.feed.accept_missing_eos,
            ..default
        }
    }

    /// What the slabs are longer than the shortest.
    pub fn cuts(&self) -> &[u16] {
        &self.feed.cuts
    }

    /// The disk that the stream must hold, where nothing is wrong with it.
    pub fn disk(&self) -> Option<Disk> {
        let sound =
            self.changes.is_empty() && !self.shape.missing_eos && self.feed.max_stream.is_none();
        sound.then(|| self.shape.disk())
    }

    pub fn stream(&self) -> Vec<u8> {
        let disk = self.shape.disk();
        let mut stream = self.shape.writer(&disk).write(&disk);
        for change in self.changes.iter().take(6) {
            change.apply(&mut stream);
        }
        stream.bytes
    }
}

impl Change {
    fn apply(&self, stream: &mut Stream) {
        let sector =
            |sector: u16, bytes: &[u8]| usize::from(sector) % (bytes.len() / SECTOR + 1) * SECTOR;
        let end = |from: usize, sectors: u8, bytes: &[u8]| {
            (from + usize::from(sectors) * SECTOR).min(bytes.len())
        };
        match self {
            Change::Header { field, value } => {
                let (at, length) = FIELDS[usize::from(*field) % FIELDS.len()];
                set(stream, at, length, value);
            }
            Change::Footer { field, value } => {
                let (at, length) = FIELDS[usize::from(*field) % FIELDS.len()];
                set(stream, stream.footer + at, length, value);
            }
            Change::Grain { grain, value, size } => {
                if let Some(at) = pick(&stream.grains, *grain) {
                    let (field, length) = MARKER[usize::from(*size)];
                    set(stream, at + field, length, value);
                }
            }
            Change::Marker {
                marker,
                field,
                value,
            } => {
                let tables = stream.tables.iter();
                let mut markers: Vec<usize> = tables
                    .chain([&stream.directory, &stream.footer])
                    .copied()
                    .collect();
                markers.push(stream.eos + SECTOR);
                let (field, length) = MARKER[usize::from(field % 4)];
                if let Some(at) = pick(&markers, *marker).and_then(|at| at.checked_sub(SECTOR)) {
                    set(stream, at + field, length, value);
                }
            }
            Change::Table {
                table,
                entry,
                value,
            } => {
                if let Some(at) = pick(&stream.tables, *table) {
                    set(stream, at + usize::from(entry % 512) * 4, 4, value);
                }
            }
            Change::Directory { entry, value } => set(
                stream,
                stream.directory + usize::from(entry % 128) * 4,
                4,
                value,
            ),
            Change::Payload { grain, at, change } => {
                let place = pick(&stream.grains, *grain).map(|place| place + 12 + usize::from(*at));
                if let Some(byte) = place.and_then(|place| stream.bytes.get_mut(place)) {
                    *byte ^= change;
                }
            }
            Change::Zlib {
                grain,
                length,
                cut,
                fill,
            } => {
                let raw = vec![*fill; *length as usize % (3 << 20)];
                let mut other = zlib(&raw, 12);
                other.truncate(other.len() - usize::from(*cut).min(other.len()));
                let place = pick(&stream.grains, *grain);
                if let Some(place) = place.filter(|at| at + 12 + other.len() <= stream.bytes.len())
                {
                    stream.bytes[place + 8..place + 12]
                        .copy_from_slice(&(other.len() as u32).to_le_bytes());
                    stream.bytes[place + 12..place + 12 + other.len()].copy_from_slice(&other);
                }
            }
            Change::Descriptor { at, text } => {
                let from = (SECTOR + usize::from(*at) % SECTOR).min(stream.bytes.len());
                let to = (from + text.len()).min(2 * SECTOR).min(stream.bytes.len());
                stream.bytes[from..to.max(from)].copy_from_slice(&text[..to.max(from) - from]);
            }
            Change::Remove { from, sectors } => {
                let from = sector(*from, &stream.bytes);
                let to = end(from, *sectors, &stream.bytes);
                stream.bytes.drain(from.min(to)..to);
            }
            Change::Repeat { from, sectors, to } => {
                let from = sector(*from, &stream.bytes);
                let until = end(from, *sectors, &stream.bytes);
                let piece = stream.bytes[from.min(until)..until].to_vec();
                let to = sector(*to, &stream.bytes).min(stream.bytes.len());
                stream.bytes.splice(to..to, piece);
            }
            Change::Wipe { from, sectors } => {
                let from = sector(*from, &stream.bytes);
                let to = end(from, *sectors, &stream.bytes);
                stream.bytes[from.min(to)..to].fill(0);
            }
            Change::Append { zeros, then } => {
                stream
                    .bytes
                    .resize(stream.bytes.len() + usize::from(*zeros), 0);
                stream.bytes.extend_from_slice(then);
            }
            Change::Cut { at } => stream
                .bytes
                .truncate(*at as usize % (stream.bytes.len() + 1)),
            Change::Flip { bit } => {
                let bit = *bit as usize % (stream.bytes.len() * 8).max(1);
                if let Some(byte) = stream.bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
    }
}

fn pick(places: &[usize], which: u8) -> Option<usize> {
    places
        .get(usize::from(which) % places.len().max(1))
        .copied()
}

/// Changes a number of the stream, if it is still that long.
fn set(stream: &mut Stream, at: usize, length: usize, value: &Value) {
    if let Some(bytes) = stream.bytes.get_mut(at..at + length) {
        let old = bytes
            .iter()
            .rev()
            .fold(0, |value, &b| value << 8 | u64::from(b));
        bytes.copy_from_slice(&value.from(old).to_le_bytes()[..length]);
    }
}
