//! What open runs may use at most, as it was when they were asked for: no change of an assistant has them use more than was set aside
//! for them (AI-15).

use crate::domain::{Allowance, Prices, RunId};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::run_terms;
use diesel::prelude::*;

/// Notes what a new run may use.
pub(in crate::storage) fn note(conn: &mut Conn, run: RunId, allowance: Allowance) -> Result<(), StoreError> {
    let query = diesel::insert_into(run_terms::table).values((
        run_terms::run_id.eq(run.get()),
        run_terms::requests.eq(allowance.requests),
        run_terms::prompt_tokens.eq(allowance.prompt),
        run_terms::output_tokens.eq(allowance.output),
        run_terms::prompt_price.eq(allowance.prices.prompt),
        run_terms::completion_price.eq(allowance.prices.completion),
    ));
    on!(conn, |c| query.execute(c))?;
    Ok(())
}

/// What an open run may use; none of one that was asked for by a release that didn't note it.
pub(in crate::storage) fn of(conn: &mut Conn, run: RunId) -> Result<Option<Allowance>, StoreError> {
    let query = run_terms::table.find(run.get()).select((
        run_terms::requests,
        run_terms::prompt_tokens,
        run_terms::output_tokens,
        run_terms::prompt_price,
        run_terms::completion_price,
    ));
    let row: Option<(i64, i64, i64, i64, i64)> = on!(conn, |c| query.first(c)).optional()?;
    Ok(row.map(|(requests, prompt, output, prompt_price, completion_price)| Allowance {
        requests,
        prompt,
        output,
        prices: Prices { prompt: prompt_price, completion: completion_price },
    }))
}

/// The run is over.
pub(in crate::storage) fn forget(conn: &mut Conn, run: RunId) -> Result<(), StoreError> {
    on!(conn, |c| diesel::delete(run_terms::table.find(run.get())).execute(c))?;
    Ok(())
}
