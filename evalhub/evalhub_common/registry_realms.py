"""Trust in token realms: the servers to which a registry sends its clients, with their credentials, to get tokens."""

from __future__ import annotations

from collections.abc import Collection

from evalhub_common.addresses import is_address, is_loopback

DOCKER_HUB_REALMS = ("auth.docker.io",)

_SECOND_LEVEL = frozenset(
    [
        "ac",
        "asn",
        "biz",
        "co",
        "com",
        "edu",
        "gob",
        "gouv",
        "gov",
        "govt",
        "gv",
        "id",
        "in",
        "info",
        "ltd",
        "me",
        "mil",
        "name",
        "ne",
        "net",
        "nhs",
        "nom",
        "or",
        "org",
        "plc",
        "pro",
        "sch",
        "school",
        "web",
    ]
)
"""Labels below which registries of countries sell names, as in ``co.uk``."""
_SHARED = frozenset(
    [
        "amazonaws.com",
        "api.aws",
        "on.aws",
        "awsapprunner.com",
        "cloudfront.net",
        "elasticbeanstalk.com",
        "azure-api.net",
        "azure.com",
        "azurecontainer.io",
        "azurecontainerapps.io",
        "azurecr.io",
        "azurecr.cn",
        "azurecr.us",
        "azurefd.net",
        "azurestaticapps.net",
        "azurewebsites.net",
        "cloudapp.net",
        "trafficmanager.net",
        "windows.net",
        "appspot.com",
        "cloudfunctions.net",
        "firebaseapp.com",
        "gcr.io",
        "pkg.dev",
        "run.app",
        "web.app",
        "googleapis.com",
        "googleusercontent.com",
        "appdomain.cloud",
        "icr.io",
        "oraclecloud.com",
        "ocir.io",
        "digitaloceanspaces.com",
        "ondigitalocean.app",
        "linodeobjects.com",
        "scw.cloud",
        "ovh.net",
        "vultrcr.com",
        "hetzner.cloud",
        "github.io",
        "githubpreview.dev",
        "gitlab.io",
        "bitbucket.io",
        "jfrog.io",
        "cloudsmith.io",
        "dev.azure.com",
        "herokuapp.com",
        "netlify.app",
        "vercel.app",
        "pages.dev",
        "workers.dev",
        "r2.dev",
        "fly.dev",
        "onrender.com",
        "railway.app",
        "deno.dev",
        "hf.space",
        "repl.co",
        "replit.dev",
        "replit.app",
        "glitch.me",
        "codesandbox.io",
        "gitpod.io",
        "csb.app",
        "surge.sh",
        "ngrok.io",
        "ngrok.app",
        "ngrok.dev",
        "ngrok-free.app",
        "ngrok-free.dev",
        "trycloudflare.com",
        "loca.lt",
        "serveo.net",
        "ts.net",
        "duckdns.org",
        "dyndns.org",
        "ddns.net",
        "no-ip.org",
        "hopto.org",
        "zapto.org",
        "nip.io",
        "sslip.io",
        "xip.io",
        "traefik.me",
        "localtest.me",
        "openshiftapps.com",
        "rhcloud.com",
        "eu.org",
        "uk.com",
        "us.com",
        "de.com",
        "home.arpa",
        "cluster.local",
    ]
)
"""Domains whose subdomains belong to different owners. Realms below one must have the registry's very host."""


def is_trusted_realm(realm: str, registry: str, allowed: Collection[str]) -> bool:
    """Whether credentials for a registry may be sent to a token realm. Both are hosts without a port.

    They may if the realm is the registry's host, shares its registrable domain, or is in ``allowed``. Without the Public
    Suffix List (publicsuffix.org), which changes too often for a copy, a shared domain is recognized by rules that rather
    deny one: at least two labels, three below country registries such as ``co.uk``, none of the well-known hosting domains.
    """
    realm, registry = _normal(realm), _normal(registry)
    if not realm or realm == registry or realm in {_normal(host) for host in allowed}:
        return bool(realm)
    if is_loopback(realm) or is_loopback(registry):
        return is_loopback(realm) and is_loopback(registry)
    if is_address(realm) or is_address(registry):
        return False
    domain = _registrable_domain(realm)
    return bool(domain) and domain == _registrable_domain(registry)


def _registrable_domain(host: str) -> str:
    """The domain that one owner holds, or an empty text if that cannot be said."""
    labels = host.split(".")
    if len(labels) < 2 or any(".".join(labels[start:]) in _SHARED for start in range(len(labels) - 1)):
        return ""
    count = 3 if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL else 2
    if labels[-1] == "svc" or "svc" in labels[-3:]:
        return ""  # names of a cluster: each namespace may have another owner
    return ".".join(labels[-count:]) if len(labels) >= count else ""


def _normal(host: str) -> str:
    return host.strip("[]").lower().removesuffix(".")
