//! Enums whose values have one name each, as columns, files and labels hold it.

/// A text that is none of the names it could be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {choices}")]
pub struct UnknownName {
    /// The names that are right.
    pub choices: &'static str,
}

/// Declares an enum with `ALL`, `name()` and `FromStr`.
#[macro_export]
macro_rules! names {
    ($(#[$doc:meta])* $type:ident: $choices:literal; $($(#[$vdoc:meta])* $variant:ident = $name:literal;)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$vdoc])* $variant,)+ }

        impl $type {
            /// Every one.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The name used in columns and files.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;
            fn from_str(text: &str) -> Result<Self, $crate::names::UnknownName> {
                let found = $type::ALL.iter().copied().find(|v| v.name() == text);
                found.ok_or($crate::names::UnknownName { choices: $choices })
            }
        }
    };
}
