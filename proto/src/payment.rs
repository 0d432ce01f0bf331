//! The ways to pay online, one spelling.

crate::names! {
    /// A way to pay online; its name stands in configuration keys, columns and metric labels.
    PaymentChannel: "alipay";
    /// Alipay, by a code on a page.
    Alipay = "alipay";
}
