//! `billing.v1.PriceService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::price_service_server::PriceService;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::domain::price::{PriceList, in_force};
use crate::store::price;

/// Serves price lists.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl PriceService for Service {
    async fn get_price_list(
        &self,
        request: Request<pb::GetPriceListRequest>,
    ) -> Result<Response<pb::GetPriceListResponse>, Status> {
        let request = request.into_inner();
        let lists = price::all(&self.0.db.read).await?;
        let list = if request.version.is_empty() {
            in_force(&lists, validate::parse("day", &request.day)?)
        } else {
            lists.iter().find(|list| list.version == request.version)
        };
        let list = list.ok_or(Fault::not_found("version"))?;
        Ok(Response::new(pb::GetPriceListResponse { price_list: Some(message(list)) }))
    }
}

fn message(list: &PriceList) -> pb::PriceList {
    let mut prices: Vec<_> = list.prices.iter().collect();
    prices.sort_by_key(|(key, _)| (key.item, key.retention_days, key.zone, key.currency));
    let price = |(key, price): (&crate::domain::price::PriceKey, &crate::domain::price::Price)| pb::Price {
        item: key.item.to_message().into(),
        retention_days: key.retention_days,
        price_zone: key.zone.to_message().into(),
        unit_size: price.unit_size,
        unit_price: Some(price.unit_price.to_message()),
    };
    pb::PriceList {
        version: list.version.clone(),
        effective_day: list.effective_day.to_string(),
        prices: prices.into_iter().map(price).collect(),
    }
}
