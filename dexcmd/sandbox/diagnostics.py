"""The text files and captures that make up a warp-diag collection."""

from collections.abc import Iterator

import attrs

from dexcmd.sandbox.making import DEFAULT_SNAPLEN, INTERFACES, Making, stamp
from dexcmd.sandbox.zipfiles import Member

__all__ = ["warp_diag"]

_ALL = "windows mac linux ios android chromeos"
_UNIX = "mac linux ios android chromeos"
_DESKTOP = "windows mac linux"


@attrs.frozen
class _Text:
    """A text file: a head, then rows that differ in a counter `n`, a byte `a` and a 16-bit number `b`."""

    name: str
    platforms: str
    head: str
    row: str = ""
    rows: int = 0


# No collection is useful without these: they are included however small it has to be.
_CORE = (
    _Text("warp-status.txt", _ALL, "Status update: Connected\nNetwork: healthy\nOrganization: example\n"),
    _Text(
        "warp-settings.txt",
        _ALL,
        "Merged configuration:\n(network policy)\tMode: WarpWithDnsOverHttps\n"
        "(network policy)\tExclude mode, with hosts/ips:\n  10.0.0.0/8\n  203.0.113.0/24 (office)\n"
        "(user set)\tAlways On: true\n(network policy)\tSwitch Locked: true\n"
        "(not set)\tOnboarding: true\n(network policy)\tSupport URL: https://help.example.com\n",
    ),
)

_MORE = (
    _Text("version.txt", _ALL, "Version: {version}\nPlatform: {platform}\nCollected: {created}\n"),
    _Text("warp-account.txt", _ALL, "Account type: Team\nDevice: {device}\nUser: {email}\nId: {command}\n"),
    _Text("platform.txt", _ALL, "{platform} on {device}, client {version}\n"),
    _Text("date.txt", _ALL, "{created}\n"),
    _Text("timezone.txt", _ALL, "Etc/UTC (UTC, +0000)\n"),
    _Text(
        "connectivity.log",
        _ALL,
        "{created} connectivity checks on {device}\n",
        "check {n:03}: https://edge{a}.example.net/trace -> 200 in {b} us over default, warp=on\n",
        96,
    ),
    _Text(
        "captive-portal-check.txt",
        _ALL,
        "GET http://captive.example.com/generate_204\n",
        "try {n}: 204 after {a} ms\n",
        4,
    ),
    _Text(
        "dns-check.txt",
        _ALL,
        "Resolver 100.96.{variant}.53, over the tunnel\n",
        "www{n}.example.com. {b} IN A 198.51.100.{a}  ;; NOERROR\n",
        64,
    ),
    _Text("dig.txt", _ALL, "; <<>> DiG <<>> example.com\n;; ANSWER SECTION:\nexample.com. 300 IN A 192.0.2.80\n"),
    _Text("dns-upstreams.txt", _ALL, "", "upstream {n}: 2001:db8:53::{a:x} rtt {b} us, 0 failures\n", 6),
    _Text("dns-fallbacks.txt", _ALL, "", "corp{n}.example.net -> 10.20.{variant}.53\n", 12),
    _Text("warp-stats.txt", _ALL, "Sent: {number} B\nReceived: {number} B\nLoss: 0.1%\n"),
    _Text("warp-network.txt", _ALL, "", "flow {n:04}: 100.96.{variant}.23:{b} -> 203.0.113.{a}:443 open\n", 72),
    _Text("warp-device-posture.txt", _ALL, "", "rule {n}: firewall=on disk_encrypted=on score={a}\n", 10),
    _Text("warp-bus-metrics.txt", _ALL, "", "subscriber {n}: depth {a} of 256, sent {b}\n", 24),
    _Text("virtual-networks.txt", _ALL, "", "vnet{n}\tDefault: false\tComment: site {a}\n", 5),
    _Text("tunnel-keepalives.txt", _ALL, "", "{n:05} peer 192.0.2.40:2408 answered in {b} us\n", 128),
    _Text("alternate-networks.txt", _ALL, "", "network {n}: beacon 10.{a}.0.1:3333 not reachable\n", 3),
    _Text(
        "hosts.txt",
        _DESKTOP,
        "127.0.0.1 localhost\n::1 localhost\n",
        "10.20.{a}.{n} host{n}.example.net\n",
        16,
    ),
    _Text("processes.txt", _DESKTOP, "PID CPU MEM NAME\n", "{b:6} 0.{n:02} {a:4} service-{n}\n", 90),
    _Text(
        "netstat.txt",
        _DESKTOP,
        "Proto Local Foreign State\n",
        "tcp 10.20.{variant}.23:{b} 198.51.100.{a}:443 UP\n",
        80,
    ),
    _Text("traceroute.txt", _DESKTOP, "to edge.example.net\n", "{n:2}  10.{a}.{n}.1  {b} us\n", 14),
    _Text("installed-certificates.txt", _DESKTOP, "", "{n}: CN=Example Root {n}, expires 20{n:02}-01-01\n", 60),
    _Text("gui-launcher.log", _DESKTOP, "", "{created} DEBUG gui: frame {n} drawn in {b} us\n", 40),
    _Text("ipconfig.txt", "windows", "Windows IP Configuration\n", "Adapter {n}: 10.20.{variant}.{a}\n", 9),
    _Text(
        "route-print.txt",
        "windows",
        "IPv4 Route Table\n",
        "10.{a}.0.0 255.255.0.0 On-link 100.96.{variant}.23 {n}\n",
        60,
    ),
    _Text(
        "systeminfo.txt",
        "windows",
        "Host Name: {device}\nOS Name: Windows 11 Enterprise\n",
        "Hotfix {n}: KB50{b:05}\n",
        12,
    ),
    _Text(
        "event-log.txt",
        "windows",
        "",
        "{created} Information {b} service {n} entered the running state\n",
        70,
    ),
    _Text("firewall-rules.txt", "windows", "", "Rule {n}: Allow In TCP {b} from 10.{a}.0.0/16\n", 80),
    _Text("gpresult.txt", "windows", "Policies applied to {device}\n", "Policy {n}: revision {b}\n", 20),
    _Text("ifconfig.txt", _UNIX, "", "if{n}: flags=8863<UP,RUNNING> mtu 1280 inet 10.20.{variant}.{a}\n", 9),
    _Text(
        "route-table.txt",
        _UNIX,
        "Destination Gateway Interface\n",
        "10.{a}.{n}.0/24 100.96.{variant}.1 if9\n",
        60,
    ),
    _Text(
        "scutil-dns.txt",
        "mac ios",
        "DNS configuration\n",
        "resolver #{n}: nameserver 10.20.{variant}.53 order {b}\n",
        12,
    ),
    _Text("scutil-proxy.txt", "mac", "<dictionary> {{\n  HTTPEnable : 0\n}}\n"),
    _Text("pfctl-rules.txt", "mac", "", "pass out quick on utun{n} inet from any to 10.{a}.0.0/16\n", 40),
    _Text(
        "system-profiler.txt",
        "mac",
        "Software:\n  System Version: macOS 15.4\n",
        "  Extension {n}: build {b}\n",
        24,
    ),
    _Text("uname.txt", "linux android chromeos", "Linux {device} 6.8.0 #1 SMP x86_64\n"),
    _Text("resolv-conf.txt", "linux android chromeos", "nameserver 100.96.{variant}.53\nsearch example.net\n"),
    _Text(
        "nft-rules.txt",
        "linux android chromeos",
        "table inet warp\n",
        "ip daddr 10.{a}.{n}.0/24 accept\n",
        50,
    ),
    _Text("resolvectl.txt", "linux", "Global\n", "Link {n}: 10.20.{variant}.53 DNSOverTLS=no cache {b}\n", 8),
    _Text("journalctl.txt", "linux", "", "{created} {device} warp-svc[{b}]: unit {n} reloaded\n", 90),
)

_ROUTES_TESTED, _ROUTES_TESTED_IN_SHORT = 64, 2


def _written(making: Making, text: _Text) -> Member:
    spec, dice = making.spec, making.dice
    facts = {
        "created": stamp(making.started),
        "command": spec.command_id,
        "device": spec.device_name,
        "email": spec.user_email,
        "platform": spec.platform,
        "version": spec.version,
        "variant": making.variant,
        "number": dice.below(2**31),
    }
    rows = [text.row.format(n=n, a=dice.below(256), b=dice.below(65536), **facts) for n in range(text.rows)]
    return making.text(text.name, text.head.format(**facts) + "".join(rows))


def _extras(making: Making) -> Iterator[Member]:
    """Yield the members of a collection besides its core, the most useful first."""
    spec = making.spec
    thorough = str(spec.args.get("test-all-routes", True)).lower() != "false"
    tested = _ROUTES_TESTED if thorough else _ROUTES_TESTED_IN_SHORT
    row = "route {n:03}: 203.0.113.{a} answered in {b} us over the tunnel\n"
    yield _written(making, _Text("route-tests.txt", _ALL, "{created} testing routes\n", row, tested))
    for text in _MORE:
        if spec.platform in text.platforms.split():
            yield _written(making, text)
    for name in INTERFACES:
        capture = making.capture(name, making.dice.between(4_000, 12_000), DEFAULT_SNAPLEN)
        yield Member(f"capture-{name}.pcap", capture.content, spec.created)


def warp_diag(making: Making) -> list[Member]:
    """Return the members of a collection: the core, as many others as fit, and a log that fills the rest.

    Raises `ValueError` if there is no room for the core.
    """
    members = [_written(making, text) for text in _CORE]
    space = making.space([*((each.name, each.content.size) for each in members), ("daemon.log", 0)])
    # The log gets at least a quarter: it is what people look at first.
    left = space * 3 // 4
    for member in _extras(making):
        needed = making.cost(member)
        if needed <= left:
            members.append(member)
            left -= needed
            space -= needed
    return [*members, making.log("daemon.log", space)]
