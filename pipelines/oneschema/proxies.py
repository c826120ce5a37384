"""Finds the proxy for the API in the environment, as the standard library reads it, plus networks in NO_PROXY.

httpx reads the same variables, but refuses the IPv6 networks that Docker Desktop and OrbStack put into NO_PROXY.
"""

import urllib.request
from ipaddress import ip_address, ip_network

import httpx


def proxy_for(url: httpx.URL) -> str | None:
    """The URL of the proxy for requests to `url`, or None."""
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy is None or _is_excepted(url.host, proxies.get("no", "")):
        return None
    netloc = url.host if url.port is None else f"{url.host}:{url.port}"
    if urllib.request.proxy_bypass(netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Whether requests to a host stay on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_excepted(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY names the address or a network that contains it."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    for entry in no_proxy.split(","):
        try:
            network = ip_network(entry.strip().strip("[]"), strict=False)
        except ValueError:
            # This is a host name, which the standard library compares.
            continue
        if address.version == network.version and address in network:
            return True
    return False
