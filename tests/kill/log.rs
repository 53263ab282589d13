//! What the worker writes down, outside the layers: `r` when it is ready, `b` before each operation, and
//! after it its errno and `e`. A killed process loses nothing that it has written.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use layerstack::Errno;

pub struct Log(File);

impl Log {
    pub fn create(path: &Path) -> Self {
        Log(File::create(path).unwrap())
    }

    fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    pub fn ready(&mut self) {
        self.write("r");
    }

    pub fn begin(&mut self) {
        self.write("b");
    }

    pub fn end(&mut self, errno: Option<Errno>) {
        self.write(&format!("{}e", errno.map_or(0, Errno::raw)));
    }
}

/// A log as it was found.
#[derive(Debug, Default)]
pub struct Written {
    pub ready: bool,
    /// What came of the operations that were finished.
    pub done: Vec<Option<Errno>>,
    /// One more was begun.
    pub begun: bool,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.begun { " and a part" } else { "" };
        write!(f, "{} operations{more}", self.done.len())
    }
}

impl Written {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let Some(rest) = text.strip_prefix('r') else {
            return Written::default();
        };
        let mut written = Written {
            ready: true,
            ..Written::default()
        };
        for part in rest.split('b').skip(1) {
            match part.strip_suffix('e') {
                Some(raw) => {
                    let raw: i32 = raw.parse().unwrap();
                    written.done.push((raw != 0).then(|| Errno::from_raw(raw)));
                }
                // The end of an operation that was not written down whole: it may have been done.
                None => written.begun = true,
            }
        }
        written
    }
}
