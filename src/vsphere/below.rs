//! All objects of a type below a container, by a container view.

use crate::error::{Error, Kind, Result};
use crate::transport::soap::Element;
use crate::vsphere::property::{Properties, destroy, filter, readable, retrieve, returned_moref};
use crate::vsphere::{Moref, Session, fault};

/// Reads properties of all objects of type `kind` below `container`. Properties that the user may
/// not read are absent.
///
/// # Errors
/// Those of the calls.
pub async fn below(
    session: &Session,
    container: &Moref,
    kind: &str,
    paths: &[&str],
) -> Result<Vec<(Moref, Properties)>> {
    let first = read_view(session, container, kind, paths).await;
    match first {
        // The view went with the session it was made in.
        Err(error) if error.fault() == Some(fault::OBJECT_NOT_FOUND) => {
            read_view(session, container, kind, paths).await
        }
        outcome => outcome,
    }
}

async fn read_view(
    session: &Session,
    container: &Moref,
    kind: &str,
    paths: &[&str],
) -> Result<Vec<(Moref, Properties)>> {
    let view = View::create(session, container, kind).await?;
    let traversal = Element::typed("selectSet", "TraversalSpec")
        .with_text("name", "view")
        .with_text("type", "ContainerView")
        .with_text("path", "view")
        .with_text("skip", false);
    let object_set = Element::new("objectSet")
        .with(Element::moref("obj", &view.view))
        .with_text("skip", true)
        .with(traversal);
    let found = retrieve(session, filter("specSet", kind, paths).with(object_set)).await;
    view.destroy().await;
    Ok(readable(session, found?))
}

/// All objects of a type below a container, until it is destroyed.
struct View {
    session: Session,
    view: Moref,
    destroyed: bool,
}

impl View {
    async fn create(session: &Session, container: &Moref, kind: &str) -> Result<View> {
        let Some(manager) = &session.content().view_manager else {
            return Err(Error::new(
                Kind::Unsupported,
                "the server has no container views",
            ));
        };
        let arguments = vec![
            Element::moref("container", container),
            Element::new("type").text(kind),
            Element::new("recursive").text(true),
        ];
        let response = session
            .call_idempotent(manager, "CreateContainerView", arguments)
            .await?;
        Ok(View {
            session: session.clone(),
            view: returned_moref(&response, "CreateContainerView")?,
            destroyed: false,
        })
    }

    async fn destroy(mut self) {
        self.destroyed = true;
        destroy(&self.session, &self.view, "DestroyView").await;
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if !self.destroyed {
            let (session, view) = (self.session.clone(), self.view.clone());
            self.session
                .spawn(async move { destroy(&session, &view, "DestroyView").await });
        }
    }
}
