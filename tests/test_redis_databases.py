import pytest
import redis

from tests.redis_databases import database_url, with_database


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/a%20store/redis.sock?db=0",
        "redis://127.0.0.1:6379",
        "redis://:a%2Fb@127.0.0.1:6379/0",
        "rediss://user:word@127.0.0.1:6379/2?db=1&protocol=2",
    ],
)
def test_another_database_of_the_same_server_is_named(url):
    was, now = (
        redis.ConnectionPool.from_url(each).connection_kwargs
        for each in (url, with_database(url, 7))
    )
    assert now["db"] == 7
    for name in ("host", "port", "path", "username", "password", "protocol"):
        assert now.get(name) == was.get(name)


def test_each_worker_has_its_own():
    urls = {database_url(3, worker) for worker in ("gw0", "gw1", "gw2")}
    assert len(urls) == 3
    for url in urls:
        with redis.Redis.from_url(url) as client:
            assert client.ping()
