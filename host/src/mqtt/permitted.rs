//! A socket that is written to only while this process may send.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::lease::SendPermit;

/// A socket whose writes never end once the permit is not valid any more: the process is about to begin anew.
pub(super) struct Permitted {
    socket: TcpStream,
    permit: SendPermit,
}

impl Permitted {
    pub(super) const fn new(socket: TcpStream, permit: SendPermit) -> Self {
        Self { socket, permit }
    }
}

impl AsyncRead for Permitted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

impl AsyncWrite for Permitted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.permit.is_valid() { Pin::new(&mut self.socket).poll_write(context, bytes) } else { Poll::Pending }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
