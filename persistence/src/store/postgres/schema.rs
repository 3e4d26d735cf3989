//! The schema: which version is there, and how it is brought up to date.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::connect::{PATIENCE, database_error, within, within_store};
use crate::store::error::StoreError;

/// The newest schema version that this program knows.
pub(super) const KNOWN: i64 = 9;

fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "tables", include_str!("../../../migrations/postgres/0001_tables.sql")),
        migration(2, "views", include_str!("../../../migrations/postgres/0002_views.sql")),
        migration(3, "rebuild", include_str!("../../../migrations/postgres/0003_rebuild.sql")),
        migration(4, "two_phase", include_str!("../../../migrations/postgres/0004_two_phase.sql")),
        migration(5, "queries", include_str!("../../../migrations/postgres/0005_queries.sql")),
        migration(
            6,
            "external_ids",
            include_str!("../../../migrations/postgres/0006_external_ids.sql"),
        ),
        migration(
            7,
            "replaced_metadata",
            include_str!("../../../migrations/postgres/0007_replaced_metadata.sql"),
        ),
        migration(
            8,
            "imported_legs",
            include_str!("../../../migrations/postgres/0008_imported_legs.sql"),
        ),
        migration(
            KNOWN,
            "what_views_say",
            include_str!("../../../migrations/postgres/0009_what_views_say.sql"),
        ),
    ])
}

/// Which version stands in the schema; none when there is no schema, or nothing in it.
pub(super) async fn version(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<Option<i64>, StoreError> {
    let failed = |source| database_error("inspecting the store", source);
    let (tables, ours): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE c.relname = '_sqlx_migrations')
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1",
    )
    .bind(schema)
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    match (tables, ours) {
        (0, _) => Ok(None),
        (_, 0) => Err(StoreError::NoStore),
        _ => sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await
            .map(Some)
            .map_err(failed),
    }
}

const MIGRATING: &str = "migrating the store";

/// Makes the schema, or brings it up to date: `found` is which version stands there. An older one may take long, as what is new may be
/// an index on all transfers, and is told from a server that is gone only after [`PATIENCE`]. After an error the connection must go.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    schema: &str,
    found: Option<i64>,
    limit: Duration,
) -> Result<(), StoreError> {
    let Some(found) = found.filter(|found| *found < KNOWN) else {
        return within_store(limit, MIGRATING, run_migrations(connection, schema)).await;
    };
    tracing::info!(
        found,
        needed = KNOWN,
        "the store's tables are brought up to date, which takes minutes where there are many transfers"
    );
    let set = async |connection: &mut PgConnection, sql| {
        within(limit, MIGRATING, sqlx::raw_sql(sql).execute(connection)).await
    };
    set(connection, "SET statement_timeout = 0").await?;
    within_store(PATIENCE, MIGRATING, run_migrations(connection, schema)).await?;
    set(connection, "RESET statement_timeout").await.map(drop)
}

async fn run_migrations(connection: &mut PgConnection, schema: &str) -> Result<(), StoreError> {
    let failed = |source| database_error(MIGRATING, source);
    let there: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)",
    )
    .bind(schema)
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    // Made only when it is not there: the role may be allowed to fill its schema, and not to make one.
    if !there {
        // The name has been checked to need no quotes but for being a keyword.
        let make = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *connection).await.map_err(failed)?;
    }
    migrations().run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => failed(source),
        MigrateError::VersionMissing(found) => StoreError::SchemaNewer { found, known: KNOWN },
        other => {
            StoreError::Refused { doing: MIGRATING, source: sqlx::Error::Migrate(Box::new(other)) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_migration_is_the_known_version() {
        assert_eq!(migrations().iter().map(|migration| migration.version).max(), Some(KNOWN));
    }
}
