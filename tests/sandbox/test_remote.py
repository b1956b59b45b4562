"""An engine elsewhere: its port is known by its key and knows us by ours."""

import asyncio
import shutil
import subprocess
import sys

import pytest

from sandbox import DockerSandbox, SandboxDown, engine

ENGINE = "/var/run/docker.sock"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A folder with ca.pem, and key and certificate of a server at 127.0.0.1 and of a client."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "rsa:2048", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca",
            "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    for name, key in (("server", "server-key.pem"), ("cert", "key.pem")):
        (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("req", *new, "-keyout", key, "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem",
                "-CAcreateserial", "-out", f"{name}.pem", "-extfile", "ext")  # fmt: skip
    return folder


PROXY = """
import asyncio, ssl, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def forward(reader, writer):
    inner_reader, inner_writer = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

async def main():
    keys = sys.argv[1]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{keys}/ca.pem")
    context.load_cert_chain(f"{keys}/server.pem", f"{keys}/server-key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def remote(docker, keys):
    """The local engine behind a port with TLS."""
    command = [sys.executable, "-c", PROXY, str(keys), ENGINE]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as proxy:
        assert proxy.stdout is not None
        yield f"tcp://127.0.0.1:{proxy.stdout.readline().strip()}"
        proxy.kill()


def test_sessions_run_on_an_engine_behind_tls(remote, keys, docker):
    """Over the standard streams of its containers, which end with the connection."""
    settings = DockerSandbox(engine=remote, tls=str(keys), max_sessions=2, max_running=2, warm=0)

    async def run():
        sandbox = settings.open()
        try:
            session = await sandbox.open("a", 1)
            first = await session.execute("x = 20; x + 1", 10, 100)
            late = await session.execute("while True: pass", 0.5, 100)
            last = await session.execute("print('a' * 3000, x)", 10, 10_000)
            container = session.box.id
            return first.output, late.status, len(last.output), container
        finally:
            await sandbox.close()

    *found, container = asyncio.run(run())
    assert found == ["21\n", "timeout", 3004]
    assert engine.processes_in(docker, container) == ()


def test_without_keys_nobody_gets_in(remote, tmp_path):
    """A folder without them is named, and a connection without them refused."""
    with pytest.raises(SandboxDown, match="must hold ca.pem, cert.pem and key.pem"):
        engine.connect(engine.Address.of(remote, str(tmp_path)))
    with pytest.raises(SandboxDown, match="no Docker engine answers"):
        engine.connect(engine.Address.of(remote, ""))
