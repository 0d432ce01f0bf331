//! The payment sandbox's control addresses.

use http::Method;
use serde_json::{Value, json};
use tandem_adapters::payment::sandbox::{Forgery, Pay, PaymentNotice, SandboxOrder, SandboxPayment};

use super::http::SandboxClient;
use crate::failure::{Attempt as _, Failure, Result};

impl SandboxClient {
    /// Pays an order as its customer.
    pub async fn pay(&self, order: &str, how: &Pay) -> Result<SandboxPayment> {
        let body = serde_json::to_value(how).attempt(|| "writing JSON".to_owned())?;
        self.call(Method::POST, &format!("payments/{order}/pay"), Some(body)).await
    }

    /// Sends an order's notices once more.
    pub async fn repeat_notices(&self, order: &str) -> Result<()> {
        let _: Value = self.call(Method::POST, &format!("payments/{order}/repeat"), None).await?;
        Ok(())
    }

    /// Lets held notices go.
    pub async fn let_notices_go(&self) -> Result<()> {
        let _: Value = self.call(Method::POST, "payments/let-go", None).await?;
        Ok(())
    }

    /// Sends a forged notice; returns the status it was answered with.
    pub async fn forge_notice(&self, order: &str, how: Forgery) -> Result<i64> {
        let body = Some(json!({ "how": how }));
        let answer: Value = self.call(Method::POST, &format!("payments/{order}/forge"), body).await?;
        let status = answer.get("status").and_then(Value::as_i64);
        status.ok_or_else(|| Failure::failed("the sandbox's answer lacks `status`"))
    }

    /// Every order.
    pub async fn orders(&self) -> Result<Vec<SandboxOrder>> {
        self.call(Method::GET, "payments", None).await
    }

    /// Every notice and what became of it.
    pub async fn notices(&self) -> Result<Vec<PaymentNotice>> {
        self.call(Method::GET, "payments/notices", None).await
    }
}
