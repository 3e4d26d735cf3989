//! Flags over variables over the file over defaults, each remembered by where it was said.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, ValueHint};
use toml::Table;

use super::values::{FromText, Reason};
use super::{ByteSize, DATA_DIR, ListenAddress, Row, SETTINGS, Shape, Spec};

/// What can not be used, and where it was said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A value has no meaning for its setting.
    #[error("{origin}: `{text}` {reason}")]
    Bad { origin: Origin, text: String, reason: Reason },
    /// A key of the file is a table, a list, a date or a fraction.
    #[error("{path}: `{key}` must be one text, whole number or true/false", path = .path.display())]
    Shape { path: PathBuf, key: String },
    /// A key of the file names no setting.
    #[error("{path}: unknown key `{key}`; `florin config` lists the known ones", path = .path.display())]
    UnknownKey { path: PathBuf, key: String },
    /// The file is no TOML.
    #[error("{path}, line {line}: {message}", path = .path.display())]
    Toml { path: PathBuf, line: usize, message: String },
    /// The file can not be read.
    #[error("cannot read the configuration file {path}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    /// The file that a `_FILE` variable names can not be read.
    #[error("cannot read the file {path} that {variable} names", path = .path.display())]
    ValueFile { variable: String, path: PathBuf, source: io::Error },
    /// A variable and its `_FILE` twin are both there.
    #[error("{variable} and {variable}_FILE are both set; leave one of them out")]
    Both { variable: String },
    /// A variable's value is no text.
    #[error("{variable} is not valid UTF-8")]
    NotText { variable: String },
    /// The address can be reached by others, and nobody is asked who they are.
    #[error(
        "refusing to listen on {listen}: it can be reached from other machines, and whoever reaches it may move money, since \
         callers are not asked who they are; listen on 127.0.0.1, or pass --insecure-no-auth if something in front of it asks"
    )]
    Exposed { listen: ListenAddress },
    /// A secret has no meaning for its setting.
    #[error("{origin}: the value {reason}")]
    BadSecret { origin: Origin, reason: Reason },
    /// The file that a `_FILE` variable names holds more than a value, as one would that was meant to be named by the variable itself.
    #[error(
        "the file {path} that {variable}_FILE names has more than one line; it has to hold the value of {variable} and nothing else",
        path = .path.display()
    )]
    ValueLines { variable: String, path: PathBuf },
    /// A certificate without its key, or a key without its certificate.
    #[error("--{given} needs --{missing}: TLS takes both, plain HTTP neither")]
    HalfTls { given: &'static str, missing: &'static str },
    /// Nobody says where the keys are.
    #[error("name the keys file with --file, or with FLORIN_API_KEYS")]
    NoKeysFile,
    /// A reader without a store.
    #[error("role read needs --database-url: it reads what the writer fills there")]
    NothingToRead,
    /// A writer that should pass commands on.
    #[error("--writer-url is for --role read: a process that takes commands passes none on")]
    NothingToPassOn,
    /// A segment size outside what the journal can work with.
    #[error("segment_bytes is {given}; it must be from 64KiB to 1GiB")]
    SegmentBytes { given: ByteSize },
}

/// Who said the value that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Variable(String),
    /// The variable named a file, and the file held the value.
    ValueFile {
        variable: String,
        path: PathBuf,
    },
    File {
        path: PathBuf,
        key: String,
    },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "flag --{flag}"),
            Origin::Variable(variable) => write!(f, "variable {variable}"),
            Origin::ValueFile { variable, path } => {
                write!(f, "file {} (variable {variable})", path.display())
            }
            Origin::File { path, key } => write!(f, "file {}, key {key}", path.display()),
            Origin::Default => write!(f, "default"),
        }
    }
}

/// The flags that were given, as text: they are read as the other layers are, so that all complain alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    given: BTreeMap<&'static str, String>,
    config: Option<PathBuf>,
}

impl Flags {
    /// Only the data directory and the file, for commands that take no other setting.
    pub(crate) fn of_data_dir(data_dir: Option<String>, config: Option<PathBuf>) -> Flags {
        Flags::of_one(&DATA_DIR, data_dir, config)
    }

    /// Only this setting, if it was given, and the file.
    pub(super) fn of_one(spec: &Spec, text: Option<String>, config: Option<PathBuf>) -> Flags {
        Flags { given: text.map(|text| (spec.flag, text)).into_iter().collect(), config }
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Flags, clap::Error> {
        let given = SETTINGS
            .iter()
            .filter_map(|spec| Some((spec.flag, matches.get_one::<String>(spec.flag)?.clone())))
            .collect();
        Ok(Flags { given, config: matches.get_one::<PathBuf>("config").cloned() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let newer = Flags::from_arg_matches(matches)?;
        self.given.extend(newer.given);
        self.config = newer.config.or(self.config.take());
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help("TOML file with settings, for those that no flag and no variable gives [FLORIN_CONFIG]");
        command.args(SETTINGS.iter().map(|spec| argument(spec))).arg(config)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }
}

fn argument(spec: &Spec) -> Arg {
    let arg = Arg::new(spec.flag)
        .long(spec.flag)
        .value_name(spec.value_name)
        .action(ArgAction::Set)
        .help(match spec.general_variable() {
            Some(general) => format!(
                "{} [{}, else {general}; default {}]",
                spec.help,
                spec.variable(),
                spec.default
            ),
            None => format!("{} [{}; default {}]", spec.help, spec.variable(), spec.default),
        });
    match spec.shape {
        Shape::Text | Shape::Secret => arg,
        Shape::Path => arg.value_hint(ValueHint::AnyPath),
        Shape::Choice(choices) => {
            arg.value_parser(PossibleValuesParser::new(choices)).hide_possible_values(true)
        }
        Shape::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .hide_possible_values(true),
    }
}

/// What a variable is set to, if it is.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// All that was said, in the order of precedence.
pub(crate) struct Layers<'a> {
    flags: &'a Flags,
    environment: Environment<'a>,
    file: Option<ConfigFile>,
}

impl<'a> Layers<'a> {
    /// Reads the configuration file, if `--config` or `FLORIN_CONFIG` names one.
    ///
    /// # Errors
    /// The file can not be read, is no TOML, or has a key that names no setting.
    pub(crate) fn open(
        flags: &'a Flags,
        environment: Environment<'a>,
    ) -> Result<Layers<'a>, ConfigError> {
        let named = match &flags.config {
            Some(path) => Some(path.clone()),
            None => variable(environment, "FLORIN_CONFIG")?.map(PathBuf::from),
        };
        let file = named.as_deref().map(ConfigFile::open).transpose()?;
        Ok(Layers { flags, environment, file })
    }

    /// The same without a configuration file, for what belongs in none.
    pub(super) fn without_file(flags: &'a Flags, environment: Environment<'a>) -> Layers<'a> {
        Layers { flags, environment, file: None }
    }

    /// The value in force.
    ///
    /// # Errors
    /// The value has no meaning for this setting, or where it is said can not be read.
    pub(super) fn read<T: FromText>(&self, spec: &Spec) -> Result<T, ConfigError> {
        let (text, origin) = self.find(spec)?;
        T::from_text(&text).map_err(|reason| match spec.shape {
            Shape::Secret => ConfigError::BadSecret { origin, reason },
            _ => ConfigError::Bad { origin, text, reason },
        })
    }

    /// The value in force as people see it. This is the one place where settings are shown: one that holds a secret says here only
    /// that it is set.
    pub(super) fn row(&self, spec: &Spec) -> Result<Row, ConfigError> {
        let (value, origin) = self.find(spec)?;
        let value = match spec.shape {
            Shape::Secret if value != spec.default => "(set)".to_owned(),
            _ => value,
        };
        Ok(Row { key: spec.key(), value, origin: origin.to_string() })
    }

    fn find(&self, spec: &Spec) -> Result<(String, Origin), ConfigError> {
        if let Some(text) = self.flags.given.get(spec.flag) {
            return Ok((text.clone(), Origin::Flag(spec.flag)));
        }
        if let Some(found) = self.find_variable(&spec.variable())? {
            return Ok(found);
        }
        if let Some(general) = spec.general_variable()
            && let Some(found) = self.find_variable(general)?
        {
            return Ok(found);
        }
        if let Some(file) = &self.file
            && let Some(text) = file.text(&spec.key())?
        {
            return Ok((text, Origin::File { path: file.path.clone(), key: spec.key() }));
        }
        Ok((spec.default.to_owned(), Origin::Default))
    }

    fn find_variable(&self, name: &str) -> Result<Option<(String, Origin)>, ConfigError> {
        let twin = format!("{name}_FILE");
        let direct = variable(self.environment, name)?;
        let path = variable(self.environment, &twin)?.map(PathBuf::from);
        match (direct, path) {
            (Some(_), Some(_)) => Err(ConfigError::Both { variable: name.to_owned() }),
            (Some(text), None) => Ok(Some((text, Origin::Variable(name.to_owned())))),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => {
                    // Editors and secret stores end a file with a line end that is no part of the value.
                    let text = text.trim_end_matches(['\r', '\n']);
                    // A whole file of secrets, taken for a value, would be shown in the next complaint.
                    if text.contains('\n') {
                        return Err(ConfigError::ValueLines { variable: name.to_owned(), path });
                    }
                    Ok(Some((text.to_owned(), Origin::ValueFile { variable: twin, path })))
                }
                Err(source) => Err(ConfigError::ValueFile { variable: twin, path, source }),
            },
            (None, None) => Ok(None),
        }
    }
}

/// A variable that is set to nothing counts as not set: that is how a compose file passes one on that nobody gave.
fn variable(environment: Environment, name: &str) -> Result<Option<String>, ConfigError> {
    match environment(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(Err(_)) => Err(ConfigError::NotText { variable: name.to_owned() }),
    }
}

/// A configuration file whose keys are all known.
struct ConfigFile {
    path: PathBuf,
    table: Table,
}

impl ConfigFile {
    fn open(path: &Path) -> Result<ConfigFile, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        ConfigFile::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<ConfigFile, ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            ConfigError::Toml {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                message: error.message().lines().collect::<Vec<_>>().join(", "),
            }
        })?;
        let unknown = table.keys().find(|key| !SETTINGS.iter().any(|spec| spec.key() == **key));
        match unknown {
            Some(key) => Err(ConfigError::UnknownKey { path: path.to_owned(), key: key.clone() }),
            None => Ok(ConfigFile { path: path.to_owned(), table }),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text.clone())),
            Some(toml::Value::Integer(number)) => Ok(Some(number.to_string())),
            Some(toml::Value::Boolean(truth)) => Ok(Some(truth.to_string())),
            Some(_) => Err(ConfigError::Shape { path: self.path.clone(), key: key.to_owned() }),
        }
    }
}
