//! The clouds, one spelling.

use std::fmt;
use std::str::FromStr;

use crate::language::Language;

/// A cloud whose marketplace sells the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vendor {
    /// Alibaba Cloud Marketplace.
    Alibaba,
    /// AWS Marketplace.
    Aws,
    /// Huawei Cloud KooGallery.
    Huawei,
    /// Microsoft Azure Marketplace.
    Azure,
}

/// A text that names no cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of alibaba, aws, huawei, azure")]
pub struct UnknownVendor;

impl Vendor {
    /// Every cloud.
    pub const ALL: [Vendor; 4] = [Vendor::Alibaba, Vendor::Aws, Vendor::Huawei, Vendor::Azure];

    /// The name used in folders, configuration keys, columns and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Alibaba => "alibaba",
            Vendor::Aws => "aws",
            Vendor::Huawei => "huawei",
            Vendor::Azure => "azure",
        }
    }

    /// The name a customer reads.
    pub fn title(self, language: Language) -> &'static str {
        match (self, language) {
            (Vendor::Alibaba, Language::En) => "Alibaba Cloud",
            (Vendor::Alibaba, Language::Zh) => "阿里云",
            (Vendor::Aws, Language::En) => "AWS",
            (Vendor::Aws, Language::Zh) => "亚马逊云科技",
            (Vendor::Huawei, Language::En) => "Huawei Cloud",
            (Vendor::Huawei, Language::Zh) => "华为云",
            (Vendor::Azure, Language::En) => "Azure",
            (Vendor::Azure, Language::Zh) => "微软云",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Vendor {
    type Err = UnknownVendor;
    fn from_str(text: &str) -> Result<Self, UnknownVendor> {
        Vendor::ALL.into_iter().find(|v| v.name() == text).ok_or(UnknownVendor)
    }
}
