"""A session of megaflow's reads the data of one service, and its clients are what boto3's would be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from megaflow.transport.service_data import OneServiceLoader

SERVICES = ("sqs", "sns", "s3", "dynamodb")
FOR_CREDENTIALS = ("sts", "portal.sso", "oidc", "signin")
WHOLE = Loader()


def loader_of(service: str) -> OneServiceLoader:
    return OneServiceLoader(service, WHOLE.search_paths)


def endpoints(loader: Loader, service: str) -> Iterator[Any]:
    """Give the endpoint of *service* in each region and partition, of each kind."""
    resolver = EndpointResolver(loader.load_data("endpoints"), uses_builtin_data=True)
    for partition in WHOLE.load_data("endpoints")["partitions"]:
        for region in (*partition["regions"], f"{partition['partition']}-global"):
            for kind in ({}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}):
                try:
                    yield resolver.construct_endpoint(service, region, partition["partition"], **kind)
                except botocore.exceptions.EndpointVariantError as error:
                    yield str(error)


@pytest.mark.parametrize("service", SERVICES)
def test_endpoints_are_those_of_botocore(service: str) -> None:
    loader = loader_of(service)

    for asked in (service, *FOR_CREDENTIALS):
        assert list(endpoints(loader, asked)) == list(endpoints(WHOLE, asked))


@pytest.mark.parametrize("service", SERVICES)
def test_no_other_services_endpoints_are_read(service: str) -> None:
    data = loader_of(service).load_data("endpoints")

    read = {name for partition in data["partitions"] for name in partition["services"]}
    assert service in read
    assert read <= {service, *FOR_CREDENTIALS}


def test_all_is_read_where_the_file_does_not_have_the_service_under_its_name() -> None:
    assert loader_of("any").load_data("endpoints") == Loader().load_data("endpoints")


@pytest.mark.parametrize(("laid_out", "otherwise"), [(" : ", ": "), ("\n    }", "\n}"), ("\n      }", "}"), ("\n", "")])
def test_all_is_read_where_the_file_is_laid_out_otherwise(
    laid_out: str, otherwise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(Loader.BUILTIN_DATA_PATH, "endpoints.json").read_text(encoding="utf-8")
    (tmp_path / "endpoints.json").write_text(text.replace(laid_out, otherwise), encoding="utf-8")
    monkeypatch.setattr(OneServiceLoader, "BUILTIN_DATA_PATH", str(tmp_path))

    assert OneServiceLoader("sqs", [str(tmp_path)]).load_data("endpoints") == json.loads(text)


def test_endpoints_of_the_users_own_take_the_place_of_botocores(tmp_path: Path) -> None:
    own = {"partitions": [], "version": 3}
    (tmp_path / "endpoints.json").write_text(json.dumps(own))
    loader = OneServiceLoader("sqs", [str(tmp_path), *WHOLE.search_paths])

    assert loader.load_data_with_path("endpoints") == (own, str(tmp_path / "endpoints"))


@pytest.mark.parametrize("type_name", ["service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"])
def test_a_service_has_the_data_that_it_has_for_botocore(type_name: str) -> None:
    known = set(loader_of("sqs").list_available_services(type_name))

    assert known == set(WHOLE.list_available_services(type_name)) & {"sqs", "signin", "sso", "sso-oidc", "sts"}


@pytest.mark.parametrize("service", ["sqs", "sns", "sts", "sso", "sso-oidc"])
def test_a_session_makes_the_clients_that_it_is_for(service: str) -> None:
    session, whole = botocore.session.Session(), botocore.session.Session()
    session.register_component("data_loader", loader_of("sns" if service == "sns" else "sqs"))

    client, other = (each.create_client(service, region_name="eu-west-3") for each in (session, whole))

    assert client.meta.endpoint_url == other.meta.endpoint_url
    assert client.meta.service_model.metadata == other.meta.service_model.metadata
