import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.lineage import carried_columns, column_lineage, late_features

SCHEMAS = {"request": ["_row_id", "place", "delay", "delay_known_at"], "weather": ["place", "temp"]}


def lineage(sql: str) -> dict[str, list[tuple[str, str]]]:
    return column_lineage(sql, SCHEMAS)


def test_a_feature_is_traced_through_common_table_expressions():
    sql = "WITH a AS (SELECT temp * 2 AS t FROM weather), b AS (SELECT t + 1 AS u FROM a) "
    assert lineage(sql + "SELECT u FROM b") == {"u": [("weather", "temp")]}


def test_the_row_id_is_no_feature():
    assert lineage("SELECT _row_id, place FROM request") == {"place": [("request", "place")]}


def test_what_a_join_compares_counts_for_the_columns_of_the_joined_table():
    sql = "SELECT r.place, w.temp FROM request r LEFT JOIN weather w ON w.temp = r.delay"
    found = lineage(sql)
    assert found["place"] == [("request", "place")]
    assert found["temp"] == [("request", "delay"), ("weather", "temp")]


def test_what_a_filter_compares_counts_for_every_feature():
    found = lineage("SELECT place FROM request WHERE delay > 3")
    assert late_features(found, ["delay"]) == {"place": ["delay"]}


def test_windows_count():
    found = lineage(
        "SELECT row_number() OVER (PARTITION BY place ORDER BY delay) AS n FROM request"
    )
    assert found["n"] == [("request", "delay"), ("request", "place")]


def test_both_branches_of_a_union_count():
    found = lineage("SELECT place AS x FROM request UNION ALL SELECT temp FROM weather")
    assert found["x"] == [("request", "place"), ("weather", "temp")]


def test_the_moment_of_a_late_column_is_late_too():
    found = lineage("SELECT delay_known_at AS moment FROM request")
    assert late_features(found, ["delay"]) == {"moment": ["delay_known_at"]}


def test_a_late_column_of_history_is_no_matter_of_lineage():
    assert late_features({"x": [("trips", "delay")]}, ["delay"]) == {}


def test_unreadable_sql_is_refused():
    with pytest.raises(DeclarationError, match="cannot be traced"):
        lineage("SELECT FROM WHERE")


CAPITALS = {
    "request": ["_row_id", "Team", "ÅlderNu", "known_at"],
    "People": ["_row_id", "Team", "Pay"],
}


def test_names_are_told_as_they_are_declared_and_written_whatever_their_case():
    sql = (
        'WITH paid AS (SELECT team, sum(PAY) AS "Wages", count(*) AS n FROM people GROUP BY ALL) '
        "SELECT r._row_id, r.TEAM, r.Åldernu, p.wages, p.Wages / n AS Each "
        "FROM REQUEST AS r LEFT JOIN paid AS p ON p.Team = r.team"
    )
    joined = [("People", "Pay"), ("People", "Team"), ("request", "Team")]

    assert column_lineage(sql, CAPITALS) == {
        "Team": [("request", "Team")],
        "ÅlderNu": [("request", "ÅlderNu")],
        "Wages": joined,
        "Each": joined,
    }


def test_of_names_that_differ_by_case_alone_the_outermost_is_told():
    sql = "WITH a AS (SELECT Team AS Side FROM request) SELECT Side || '!' AS side FROM a"
    assert column_lineage(sql, CAPITALS) == {"side": [("request", "Team")]}


@pytest.mark.parametrize("rows", ["generate_series(1, 3) AS g(x)", "range(3) AS g(x)"])
def test_what_comes_from_no_table_is_no_origin(rows: str):
    sql = f"SELECT r._row_id, r.Team || g.x AS team_x, g.x FROM request AS r, {rows}"

    assert column_lineage(sql, CAPITALS) == {"team_x": [("request", "Team")], "x": []}
    assert carried_columns(sql, CAPITALS) == {}


def test_a_late_column_is_recognised_whatever_its_case():
    found = column_lineage("SELECT upper(team) AS Side FROM request", CAPITALS)
    assert late_features(found, ["Team"]) == {"Side": ["Team"]}


def test_a_feature_is_carried_where_it_is_a_column_as_it_is():
    sql = (
        "WITH a AS (SELECT *, Pay / 12 AS monthly, Pay * 2 AS Team2 FROM People), "
        "b AS (SELECT _row_id, Team FROM request UNION ALL SELECT _row_id, Team FROM People) "
        "SELECT r.Team AS side, a.pay, a.monthly, a.team2, b.team, max(a.Pay) OVER () AS most "
        "FROM request AS r JOIN a ON a._row_id = r._row_id JOIN b ON b._row_id = r._row_id"
    )

    assert carried_columns(sql, CAPITALS) == {"side": ("request", "Team"), "Pay": ("People", "Pay")}
