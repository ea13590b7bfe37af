//! What can go wrong. Names cross to JavaScript, see `src/native/wal-errors.ts`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::is_no_space;

/// An operating error of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalError {
    /// The operating system refused.
    Io {
        operation: &'static str,
        path: PathBuf,
        message: String,
        no_space: bool,
    },
    /// Bytes are not what was written. Nothing was changed.
    Corrupt {
        segment: String,
        offset: u64,
        reason: String,
    },
    /// Another process has the log open.
    Locked { dir: PathBuf },
    /// There is no log in the directory.
    Absent { dir: PathBuf },
    /// A log, ours or another's, is in the way of a new one.
    Exists { dir: PathBuf },
    /// The caller asked for what the log must not hold (a bug above).
    Invalid { reason: &'static str },
}

impl WalError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            operation,
            path: path.to_path_buf(),
            message: error.to_string(),
            no_space: is_no_space(&error),
        }
    }

    pub(crate) fn corrupt(segment: &str, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            segment: segment.to_owned(),
            offset,
            reason: reason.into(),
        }
    }

    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { no_space: true, .. })
    }

    /// The name of the class in JavaScript.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "WalIoError",
            Self::Corrupt { .. } => "WalCorruptError",
            Self::Locked { .. } => "WalLockedError",
            Self::Absent { .. } => "WalAbsentError",
            Self::Exists { .. } => "WalExistsError",
            Self::Invalid { .. } => "WalInvalidError",
        }
    }
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                operation,
                path,
                message,
                no_space,
            } => {
                write!(f, "wal: {operation} {}: {message}", path.display())?;
                if *no_space {
                    f.write_str("; make room and start again, what was acknowledged is kept")?;
                }
                Ok(())
            }
            Self::Corrupt {
                segment,
                offset,
                reason,
            } => {
                write!(
                    f,
                    "wal: segment {segment} is damaged at offset {offset}: {reason}"
                )
            }
            Self::Locked { dir } => {
                write!(f, "wal: {} is in use by another process", dir.display())
            }
            Self::Absent { dir } => write!(f, "wal: no log in {}", dir.display()),
            Self::Exists { dir } => write!(f, "wal: {} holds a log already", dir.display()),
            Self::Invalid { reason } => write!(f, "wal: {reason}"),
        }
    }
}

impl std::error::Error for WalError {}
