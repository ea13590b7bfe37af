//! A log line in fixed memory.

use core::fmt::{self, Write};

const LINE_BYTES: usize = 8192;
const SECONDS_A_DAY: u64 = 86_400;

/// What does not fit is left out, the line's end apart.
pub(super) struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Line {
    pub fn new() -> Self {
        Self {
            bytes: [0; LINE_BYTES],
            length: 0,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = LINE_BYTES.min(self.length + bytes.len());
        let taken = end - self.length;
        self.bytes[self.length..end].copy_from_slice(&bytes[..taken]);
        self.length = end;
    }

    /// The inner part of a JSON string.
    pub fn text(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // Room for the line's end.
            if self.length + 64 > LINE_BYTES {
                return;
            }
            match byte {
                b'"' | b'\\' => self.push(&[b'\\', byte]),
                0..0x20 => self.push(b"?"),
                _ => self.push(&[byte]),
            }
        }
    }

    /// Time as the log has it, in UTC.
    pub fn time(&mut self, seconds: u64, microseconds: u32) {
        let (year, month, day) = date(seconds / SECONDS_A_DAY);
        let (hour, minute, second) = (
            seconds % SECONDS_A_DAY / 3600,
            seconds % 3600 / 60,
            seconds % 60,
        );
        self.print(format_args!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{microseconds:06}Z"
        ));
    }

    /// Numbers and texts that need no escapes.
    pub fn print(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a `Line` cannot fail.
        let _ = self.write_fmt(arguments);
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Year, month and day of a day since 1970, counted in years that begin in March: leap days then end a year.
fn date(day: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    /// From 1 March 0000 to 1 January 1970.
    const TO_1970: u64 = 719_468;
    let days = day + TO_1970;
    let era = days / DAYS_IN_400_YEARS;
    let of_era = days % DAYS_IN_400_YEARS;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (calendar_month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, calendar_month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000007Z"),
            (951_868_799, "2000-02-29T23:59:59.000007Z"),
            (951_868_800, "2000-03-01T00:00:00.000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000007Z"),
            (1_795_897_755, "2026-11-28T20:29:15.000007Z"),
        ] {
            let mut line = Line::new();
            line.time(seconds, 7);
            assert_eq!(line.as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn texts_are_escaped_and_bounded() {
        let mut line = Line::new();
        line.text(b"a\"b\\c\n");
        assert_eq!(line.as_bytes(), br#"a\"b\\c?"#);
        line.text(&[b'x'; 2 * LINE_BYTES]);
        line.print(format_args!("\"}}\n"));
        assert!(line.as_bytes().ends_with(b"x\"}\n"));
        line.print(format_args!("{:>9000}", 1));
        assert_eq!(line.as_bytes().len(), LINE_BYTES);
    }
}
